"""ccxt (REST) and ccxt.pro (websocket) against the exchange.

Neither takes an address of its own: the table of hosts that both carry is overwritten. Started by
scripts/conformance, which sets the environment; one line of result a call.
"""

import asyncio
import sys
import time

import ccxt
import ccxt.pro
import common
from common import (
    KEY,
    REST,
    SECRET,
    SPOILT,
    STREAM_S,
    WS,
    check,
    check_async,
    failed,
    refused,
    rows,
    spoil_nonce,
    until,
)

PAIR, PERPETUAL = "BTC/USD", "BTC/USDT:USDT"


def made(kind, key=KEY, secret=SECRET):
    client = kind({"apiKey": key, "secret": secret, "timeout": 10_000})
    # The limits of ccxt are older than the venue's, and count the calls of all endpoints as one.
    client.enableRateLimit = False
    # Milliseconds are the default, and below what the other clients of this key have used.
    client.nonce = lambda: int(time.time() * 1_000_000)
    client.urls["api"].update({"v1": REST, "public": REST, "private": REST})
    if "ws" in client.urls["api"]:
        client.urls["api"]["ws"] = {"public": WS, "private": WS}
    return client


def public_reads(client):
    def markets():
        found = client.load_markets()
        assert found[PAIR]["spot"] and found[PERPETUAL]["swap"], list(found)
        assert found[PAIR]["limits"]["amount"]["min"] > 0, found[PAIR]
        return rows(found, 3)

    def book(limit, **more):
        found = client.fetch_order_book(PAIR, limit, more)
        assert found["bids"][0][0] < found["asks"][0][0], found
        return rows(found["bids"], limit)

    def ticker():
        found = client.fetch_ticker(PAIR)
        assert 0 < found["bid"] < found["ask"], found
        return found["last"]

    def candles():
        found = client.fetch_ohlcv(PAIR, "1m", limit=50)
        assert found[0][0] < found[-1][0] and found[0][2] >= found[0][3], found[0]
        return rows(found, 50)

    def funding_rate():
        found = client.fetch_funding_rate(PERPETUAL)
        assert found["markPrice"] > 0, found
        return found["markPrice"]

    def currencies():
        found = client.fetch_currencies()
        assert found["BTC"]["networks"], found["BTC"]
        return rows(found, 3)

    def status():
        assert client.fetch_status()["status"] == "ok"

    check("REST platform status", status)
    check("REST conf", markets)
    check("REST currencies", currencies)
    check("REST tickers", lambda: rows(client.fetch_tickers([PAIR, "ETH/USD"]), 2))
    check("REST tickers, all", lambda: rows(client.fetch_tickers(), 3))
    check("REST ticker", ticker)
    check("REST book", lambda: book(25, precision="P0"))
    check("REST raw book", lambda: book(25))
    check("REST trades", lambda: rows(client.fetch_trades(PAIR, limit=20)))
    check("REST candles", candles)
    check("REST derivative status", funding_rate)
    check(
        "REST derivative history", lambda: rows(client.fetch_funding_rate_history(PERPETUAL), 0)
    )
    check("REST open interest", lambda: str(client.fetch_open_interest(PERPETUAL)["symbol"]))
    check("REST liquidations", lambda: rows(client.fetch_liquidations(PERPETUAL), 0))


def account_calls(client):
    placed = {}

    def submit(kind="limit", side="buy", amount=0.01, price=1000, **more):
        return client.create_order(PAIR, kind, side, amount, price, more)

    def submitted():
        order = submit(clientOrderId=common.next_cid())
        assert order["status"] == "open", order
        placed["id"] = order["id"]
        return f"id {order['id']}"

    def updated():
        order = client.edit_order(placed["id"], PAIR, "limit", "buy", 0.02, 1100)
        assert order["price"] == 1100 and order["remaining"] == 0.02, order

    def orders():
        found = client.fetch_open_orders(PAIR)
        assert placed["id"] in [order["id"] for order in found], found
        return rows(found)

    def fetched():
        order = client.fetch_order(placed["id"], PAIR)
        assert order["price"] == 1100, order

    def cancelled():
        client.cancel_order(placed["id"])
        assert not client.fetch_open_orders(PAIR)

    def history():
        found = client.fetch_closed_orders(PAIR)
        assert placed["id"] in [order["id"] for order in found], found
        assert client.fetch_closed_order(placed["id"], PAIR)["status"] == "canceled"
        return rows(found)

    def multi():
        wanted = {"symbol": PAIR, "type": "limit", "side": "buy", "amount": 0.01}
        sent = client.create_orders([{**wanted, "price": 1000}, {**wanted, "price": 1001}])
        assert [order["status"] for order in sent] == ["open"] * 2, sent
        ended = client.cancel_orders([order["id"] for order in sent])
        assert len(ended) == 2, ended

    def cancelled_all():
        submit()
        client.cancel_all_orders()
        assert not client.fetch_open_orders()

    def kinds():
        """Every form of order that ccxt can make, each in its own call."""
        resting = [
            submit(postOnly=True),
            submit("market", "buy", price=None, triggerPrice=900_000),
            submit("limit", "buy", price=900_100, triggerPrice=900_000),
            submit("market", "sell", price=None, trailingAmount=50_000),
            client.create_order(PAIR, "limit", "buy", 0.01, 1000, {"marginMode": "cross"}),
        ]
        assert all(order["status"] == "open" for order in resting), resting
        # What cannot rest is accepted first, and its end told in the history.
        ended = [submit(timeInForce=force) for force in ("IOC", "FOK")]
        ended.append(submit(price=900_000, postOnly=True))
        client.cancel_orders([order["id"] for order in resting])
        assert not client.fetch_open_orders()
        told = {order["id"]: order["info"][13] for order in client.fetch_closed_orders(PAIR)}
        words = [told[order["id"]] for order in ended]
        assert words == ["IOC CANCELED", "FILLORKILL CANCELED", "POSTONLY CANCELED"], words
        return f"{len(resting) + len(ended)} orders"

    def filled():
        order = submit("market", "buy", price=None)
        fills = client.fetch_my_trades(PAIR)
        assert order["id"] in [trade["order"] for trade in fills], (order, fills)
        assert all(trade["fee"]["cost"] > 0 for trade in fills), fills
        return rows(client.fetch_order_trades(order["id"], PAIR))

    def wallets():
        found = client.fetch_balance()
        assert found["USD"]["free"] > 0, found
        return f"{found['USD']['free']} USD"

    def positions():
        client.create_order(PERPETUAL, "market", "buy", 0.01, None, {"lev": 5})
        found = client.fetch_positions()
        client.create_order(PERPETUAL, "market", "sell", 0.01, None, {"reduceOnly": True})
        assert found[0]["side"] == "long" and found[0]["leverage"] > 0, found
        assert not client.fetch_positions()
        return rows(found)

    def transferred():
        # Its `transfer` rounds the amount by a precision that it holds as a fraction, and fails.
        client.currencies["USD"]["precision"] = 8
        moved = client.transfer("USD", 10, "spot", "margin")
        assert moved["status"] == "ok" and moved["amount"] == 10, moved

    def fees():
        found = client.fetch_trading_fees()[PAIR]
        assert found["taker"] == 0.002, found

    check("REST submit", submitted)
    check("REST update", updated)
    check("REST orders", orders)
    check("REST orders by id", fetched)
    check("REST cancel", cancelled)
    check("REST order history", history)
    check("REST multi", multi)
    check("REST cancel all", cancelled_all)
    check("REST every kind of order", kinds)
    check("REST fill, trades, order trades", filled)
    check("REST wallets", wallets)
    check("REST positions", positions)
    check("REST transfer", transferred)
    check("REST ledgers", lambda: rows(client.fetch_ledger("USD")))
    check("REST summary", fees)
    check("REST movements", lambda: rows(client.fetch_deposits_withdrawals(), 0))
    check("REST deposit address", lambda: client.fetch_deposit_address("BTC")["address"])


def refusals():
    client = made(ccxt.bitfinex)
    client.load_markets()
    other = lambda *key: made(ccxt.bitfinex, *key).fetch_balance
    check(
        "REST unknown symbol",
        lambda: refused(
            lambda: client.public_get_ticker_symbol({"symbol": "tNOPE"}),
            ccxt.BaseError,
            "symbol: invalid",
        ),
    )
    check(
        "REST refused order",
        lambda: refused(
            lambda: client.create_order(PAIR, "limit", "buy", 1900, 59_000),
            ccxt.InsufficientFunds,
            "not enough exchange balance",
        ),
    )
    unknown = lambda: client.cancel_order("1")
    check("REST unknown order", lambda: refused(unknown, ccxt.OrderNotFound, "Order not found"))
    check("REST bad key", lambda: refused(other("nobody", "x"), ccxt.AuthenticationError, ""))
    check("REST bad secret", lambda: refused(other(KEY, "wrong"), ccxt.AuthenticationError, ""))
    spoil_nonce()
    check("REST bad nonce", lambda: refused(other(*SPOILT), ccxt.InvalidNonce, ""))

    def flood():
        for _ in range(100):
            client.fetch_status()

    check("REST rate limit", lambda: refused(flood, ccxt.RateLimitExceeded, "11010"))


async def streams(client):
    """Each `watch` hands over one change and is asked again: what ccxt's users write."""
    count, stop = dict.fromkeys(["book", "trades", "ticker", "candles"], 0), time.monotonic()
    stop += STREAM_S
    errors = []

    async def follow(name, watch):
        while time.monotonic() < stop:
            try:
                await asyncio.wait_for(watch(), stop - time.monotonic() + 1)
                count[name] += 1
            except asyncio.TimeoutError:
                return
            except Exception as error:  # what a user of the client would see
                errors.append(f"{name}: {type(error).__name__} {error}")
                return

    checked = []
    handle = client.handle_checksum

    def counted(ws, message, subscription):
        checked.append(message[2])
        handle(ws, message, subscription)

    client.handle_checksum = counted
    # What is asked for is set before anything changes: a book's flags go out with its first frame.
    await asyncio.gather(
        follow("book", lambda: client.watch_order_book(PAIR)),
        follow("book", lambda: client.watch_order_book("ETH/USD")),
        follow("trades", lambda: client.watch_trades(PAIR)),
        follow("ticker", lambda: client.watch_ticker(PAIR)),
        follow("candles", lambda: client.watch_ohlcv(PAIR, "1m")),
    )

    def audited():
        wrong = [error for error in errors if error.startswith("book")]
        assert not wrong, wrong[0]
        assert len(checked) > 1, "no checksum came"
        return f"{count['book']} answers, {len(checked)} checksums"

    def some(name):
        assert count[name] > 0 and not [e for e in errors if e.startswith(name)], (count, errors)
        return count[name]

    check("books, checksums audited", audited)
    for name in ("trades", "ticker", "candles"):
        check(name, lambda name=name: some(name))

    async def unsubscribe():
        await client.un_watch_ticker(PAIR)

    await check_async("unsubscribe", unsubscribe)


async def account(client):
    seen = {"orders": [], "trades": [], "balance": None}

    async def follow(watch, take):
        while True:
            take(await watch())

    tasks = [
        asyncio.create_task(follow(client.watch_orders, seen["orders"].extend)),
        asyncio.create_task(follow(client.watch_my_trades, seen["trades"].extend)),
        asyncio.create_task(
            follow(client.watch_balance, lambda balance: seen.update(balance=balance))
        ),
    ]

    async def snapshots():
        await until("balance", lambda: seen["balance"])
        return f"{len(seen['balance']['total'])} wallets"

    def of(order, status):
        return any(o["id"] == order["id"] and o["status"] == status for o in seen["orders"])

    async def cancelled():
        order = await client.create_order(PAIR, "limit", "buy", 0.01, 1000)
        await until("open", lambda: of(order, "open"))
        await client.cancel_order(order["id"])
        await until("cancelled", lambda: of(order, "canceled"))

    async def filled():
        order = await client.create_order(PAIR, "market", "buy", 0.02)
        await until("closed", lambda: of(order, "closed"))
        fill = await until(
            "fill", lambda: [t for t in seen["trades"] if t["order"] == order["id"]]
        )
        assert fill[0]["fee"]["cost"] != 0, fill

    await check_async("auth and snapshots", snapshots)
    await check_async("cancel", cancelled)
    await check_async("fill", filled)
    for task in tasks:
        if task.done():
            failed("(account)", task.exception())
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def unauthenticated(call, key, secret):
    client = made(ccxt.pro.bitfinex, key, secret)

    async def wait():
        try:
            await client.watch_balance()
        except ccxt.AuthenticationError as error:
            return str(error)[:60]
        raise AssertionError("accepted")

    await check_async(call, wait)
    await client.close()


async def sockets():
    for act in (streams, account):
        client = made(ccxt.pro.bitfinex)
        await client.load_markets()
        try:
            await act(client)
        except Exception as error:  # what the client itself dies of is a result
            failed(f"({act.__name__})", error)
        await client.close()
    await unauthenticated("bad key", "nobody", "nothing")
    await unauthenticated("bad secret", KEY, "wrong")
    spoil_nonce()
    await unauthenticated("bad nonce", *SPOILT)


asyncio.run(sockets())
rest = made(ccxt.bitfinex)
public_reads(rest)
account_calls(rest)
refusals()
sys.exit(1 if common.failures else 0)
