from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.peers.redis.server import RedisServer

pytestmark = pytest.mark.peer


def test_a_real_redis_answers_with_its_append_only_file_on(redis_server: RedisServer) -> None:
    assert int(redis_server.version.split(".")[0]) >= 6
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_killed_redis_comes_back_on_the_same_port(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        port = server.port
        server.kill()
        server.restart()
        assert server.port == port
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
    finally:
        server.stop()
