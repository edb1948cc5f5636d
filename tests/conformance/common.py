"""What the Python programs share: one line of result a call, and a key whose nonces are used up."""

import asyncio
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request

WS, REST = os.environ["VENUE_WS"], os.environ["VENUE_REST"]
KEY, SECRET = os.environ["VENUE_KEY"], os.environ["VENUE_SECRET"]
SPOILT = os.environ["VENUE_SPOILT_KEY"], os.environ["VENUE_SPOILT_SECRET"]
STREAM_S, RATE_MIN = float(os.environ["STREAM_S"]), float(os.environ["RATE_MIN"])
SYMBOL, PATIENCE_S = "tBTCUSD", 10
failures = 0
cid = int(time.time() * 1000) % 86_400_000


def next_cid():
    global cid
    cid += 1
    return cid


def line(call, result, words=""):
    print(call, result, " ".join(str(words).split())[:160], sep="\t", flush=True)


def failed(call, error):
    global failures
    failures += 1
    line(call, "FAILED", f"{type(error).__name__}: {error}")


def check(call, act):
    try:
        line(call, "ok", act() or "")
    except Exception as error:  # any way in which a client can fail is a result
        failed(call, error)


async def check_async(call, act):
    try:
        line(call, "ok", await asyncio.wait_for(act(), PATIENCE_S * 2) or "")
    except Exception as error:  # any way in which a client can fail is a result
        failed(call, error)


async def until(what, holds):
    end = time.monotonic() + PATIENCE_S
    while not (value := holds()):
        if time.monotonic() > end:
            raise TimeoutError(f"never: {what}")
        await asyncio.sleep(0.01)
    return value


def rows(found, least=1):
    assert len(found) >= least, found
    return f"{len(found)} rows"


def refused(act, kind, words):
    try:
        result = act()
    except kind as error:
        assert words in str(error), error
        return str(error)[-60:]
    raise AssertionError(f"accepted: {result}")


def spoil_nonce():
    """Uses the largest nonce there is on the second key: whatever comes later is too small."""
    nonce = str(2**53 - 1)
    signed = f"/api/v2/auth/r/wallets{nonce}{{}}"
    signature = hmac.new(SPOILT[1].encode(), signed.encode(), hashlib.sha384).hexdigest()
    headers = {
        "content-type": "application/json",
        "bfx-nonce": nonce,
        "bfx-apikey": SPOILT[0],
        "bfx-signature": signature,
    }
    request = urllib.request.Request(f"{REST}/v2/auth/r/wallets", b"{}", headers)
    try:
        urllib.request.urlopen(request, timeout=PATIENCE_S).read()
    except urllib.error.HTTPError as error:
        json.loads(error.read())
