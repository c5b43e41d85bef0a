"""Reading an answer that must be whole, page by page, with the guards of every paging."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import Page, link_expired
from subscriptions.following import Follow
from subscriptions.outbound import origin
from subscriptions.paging import PagingGuard


def walk(follow: Follow, url: str, kind: str = "searchset") -> Iterator[Page]:
    """The pages of the search `url` to their proper end; RemoteFailure when there is none, or a link leads elsewhere."""
    guard = PagingGuard(follow.page_cap)
    following: str | None = url if "://" in url else f"{follow.client.base_url}/{url}"
    first = True
    while following:
        answer = follow.client.search(following) if first else follow.client.get(following)
        if not first and link_expired(answer):
            raise RemoteFailure("A paging link had expired.")
        page = follow.page(following, kind, answer, own=first)
        guard.check(following, page)
        if page.next_url is not None and origin(page.next_url) != origin(follow.client.base_url):
            raise RemoteFailure("The server's next page is on another origin, which is not followed.", permanent=True)
        yield page
        first = False
        following = page.next_url
