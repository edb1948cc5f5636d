"""bitfinex-api-py (websocket and REST) against the exchange.

Started by scripts/conformance, which sets the environment; one line of result a call.
"""

import asyncio
import datetime
import sys
import time
import zlib
from decimal import Decimal

import common
from bfxapi import Client
from bfxapi.exceptions import InvalidCredentialError
from bfxapi.rest.exceptions import GenericError, RequestParameterError
from common import (
    KEY,
    PATIENCE_S,
    RATE_MIN,
    SECRET,
    SPOILT,
    STREAM_S,
    SYMBOL,
    WS,
    check,
    check_async,
    failed,
    next_cid,
    refused,
    rows,
    spoil_nonce,
    until,
)

REST = common.REST + "/v2"


def js_text(number):
    """A number as JavaScript prints it: what checksums are made of."""
    if isinstance(number, int) or number == int(number):
        return str(int(number))
    text = repr(number)
    if "e" not in text:
        return text
    if abs(number) >= 1e-6:
        return format(Decimal(text), "f")
    mantissa, exponent = text.split("e")
    return f"{mantissa}e{int(exponent)}"


class Book:
    def __init__(self, raw):
        self.raw, self.sides = raw, ({}, {})

    def set(self, row):
        amount, gone = row.amount, (row.price == 0 if self.raw else row.count == 0)
        key = row.order_id if self.raw else row.price
        side = self.sides[0 if amount > 0 else 1]
        for other in self.sides if self.raw else (side,):
            other.pop(key, None)
        if not gone:
            side[key] = (row.price, amount)

    def checksum(self):
        def best(side, sign):
            order = sorted(side.items(), key=lambda item: (sign * item[1][0], item[0]))
            return [[js_text(key), js_text(item[1])] for key, item in order[:25]]

        bids, asks = best(self.sides[0], -1), best(self.sides[1], 1)
        parts = []
        for at in range(25):
            parts += (bids[at] if at < len(bids) else []) + (asks[at] if at < len(asks) else [])
        return zlib.crc32(":".join(parts).encode())


async def run_client(act, prepare=lambda _: None, key=KEY, secret=SECRET):
    """Runs `act(client)` on an open client, or raises what the client raised."""
    client = Client(key, secret, rest_host=REST, wss_host=WS)
    prepare(client.wss)
    task = asyncio.create_task(client.wss.start())
    try:
        await until("open", lambda: task.done() or client.wss.open)
        if task.done():
            task.result()
        await act(client, task)
    finally:
        if client.wss.open:
            await client.wss.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def streams(client, _):
    wss = client.wss
    count = dict.fromkeys(["book", "sums", "raw", "te", "tu", "ticker", "candles", "status"], 0)
    books, wrong = {}, []

    def book_of(subscription):
        key = subscription["symbol"], subscription["prec"]
        return books.setdefault(key, Book(subscription["prec"] == "R0"))

    @wss.on("t_book_snapshot")
    @wss.on("t_raw_book_snapshot")
    def on_snapshot(subscription, levels):
        for level in levels:
            book_of(subscription).set(level)

    @wss.on("t_book_update")
    @wss.on("t_raw_book_update")
    def on_update(subscription, level):
        count["book"] += 1
        book_of(subscription).set(level)

    @wss.on("checksum")
    def on_checksum(subscription, value):
        count["raw" if subscription["prec"] == "R0" else "sums"] += 1
        if book_of(subscription).checksum() != value:
            wrong.append(subscription["symbol"] + " " + subscription["prec"])

    def counts(event, name):
        def on_event(*_):
            count[name] += 1

        wss.on(event, on_event)

    counts("t_trade_execution", "te")
    counts("t_trade_execution_update", "tu")
    counts("t_ticker_update", "ticker")
    counts("candles_snapshot", "candles")
    counts("candles_update", "candles")
    counts("derivatives_status_update", "status")
    start = time.monotonic()
    for symbol in (SYMBOL, "tETHUSD"):
        await wss.subscribe("book", symbol=symbol, prec="P0", freq="F0", len="25")
    await wss.subscribe("book", symbol=SYMBOL, prec="R0", len="25")
    await wss.subscribe("trades", symbol=SYMBOL)
    await wss.subscribe("ticker", sub_id="the ticker", symbol=SYMBOL)
    await wss.subscribe("candles", key="trade:1m:tBTCUSD")
    await wss.subscribe("status", key="deriv:tBTCF0:USTF0")
    await asyncio.sleep(STREAM_S)
    rate = round(count["book"] / (time.monotonic() - start))

    def audited():
        assert not wrong, f"{len(wrong)} of {count['sums']} are wrong, first: {wrong[0]}"
        assert count["sums"] > 0, "no checksum came"
        assert rate >= RATE_MIN, f"{rate} messages/s, wanted {RATE_MIN}"
        return f"{count['book']} messages, {rate}/s, {count['sums']} checksums"

    def some(*names):
        assert all(count[name] > 0 for name in names), count
        return ", ".join(f"{count[name]} {name}" for name in names)

    check("books, checksums audited", audited)
    check("raw book, checksums audited", lambda: some("raw"))
    check("trades", lambda: some("te", "tu"))
    check("ticker", lambda: some("ticker"))
    check("candles", lambda: some("candles"))
    check("derivative status", lambda: some("status"))

    async def unsubscribe():
        await wss.unsubscribe("the ticker")
        await wss.subscribe("ticker", sub_id="the ticker", symbol=SYMBOL)

    await check_async("unsubscribe", unsubscribe)


seen = {}


def listen(wss):
    for event in (
        "authenticated order_snapshot wallet_snapshot position_snapshot order_new order_update "
        "order_cancel trade_execution trade_execution_update wallet_update position_new "
        "position_update position_close on-req-notification ou-req-notification "
        "oc-req-notification notification balance_update"
    ).split():
        seen[event] = []
        wss.on(event, seen[event].append)


async def account(client, task):
    wss = client.wss

    async def authenticated():
        await until("authenticated", lambda: seen["authenticated"])
        for event in ("order_snapshot", "wallet_snapshot", "position_snapshot"):
            await until(event, lambda event=event: seen[event])
        return f"{len(seen['wallet_snapshot'][0])} wallets"

    await check_async("auth and snapshots", authenticated)

    async def submit(price=1000, amount=0.01, type="EXCHANGE LIMIT", **more):
        number = next_cid()
        await wss.inputs.submit_order(
            type=type, symbol=SYMBOL, amount=amount, price=price, cid=number, **more
        )
        return number

    def of(event, number):
        return next((order for order in seen[event] if order.cid == number), None)

    resting = {}

    async def submitted():
        number = await submit(meta={"aff_code": "x"})
        resting["order"] = await until("on", lambda: of("order_new", number))
        note = await until("note", lambda: seen["on-req-notification"])
        assert note[0].status == "SUCCESS" and note[0].data.cid == number, note
        return f"id {resting['order'].id}"

    async def updated():
        await wss.inputs.update_order(resting["order"].id, price=1100)
        changed = await until("ou", lambda: of("order_update", resting["order"].cid))
        assert changed.price == 1100, changed

    async def cancelled():
        await wss.inputs.cancel_order(id=resting["order"].id)
        closed = await until("oc", lambda: of("order_cancel", resting["order"].cid))
        assert closed.order_status.startswith("CANCELED"), closed

    async def cancelled_by_cid():
        number = await submit()
        await until("on", lambda: of("order_new", number))
        today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        await wss.inputs.cancel_order(cid=number, cid_date=today)
        await until("oc", lambda: of("order_cancel", number))

    async def filled():
        number = await submit(amount=0.02, type="EXCHANGE MARKET")
        closed = await until("oc", lambda: of("order_cancel", number))
        assert closed.order_status.startswith("EXECUTED"), closed
        fills = seen["trade_execution"], seen["trade_execution_update"]
        await until("te and tu", lambda: fills[0] and len(fills[0]) == len(fills[1]))
        assert all(trade.fee < 0 for trade in fills[1]), fills
        return f"{len(fills[0])} te, {len(fills[1])} tu"

    async def wallets():
        await until("wu", lambda: seen["wallet_update"])

    async def position():
        await submit(type="MARKET")
        opened = await until("pn", lambda: seen["position_new"])
        await submit(type="MARKET", amount=-0.01)
        await until("pc", lambda: seen["position_close"])
        return f"{opened[0].symbol} {opened[0].amount}"

    async def multi():
        numbers = [await submit(gid=79) for _ in range(3)]
        await until("on", lambda: all(of("order_new", number) for number in numbers))
        await wss.inputs.cancel_order_multi(gid=[79])
        await until("oc", lambda: all(of("order_cancel", number) for number in numbers))

    async def calc():
        before = len(seen["wallet_update"])
        await wss.inputs.calc("wallet_exchange_USD", "balance")
        await until("wu", lambda: len(seen["wallet_update"]) > before)

    async def refused_order():
        number = await submit(amount=1_000_000)
        notes = seen["on-req-notification"]
        note = await until("note", lambda: [n for n in notes if n.data.cid == number])
        assert note[0].status == "ERROR", note
        return note[0].text[:60]

    await check_async("submit", submitted)
    await check_async("update", updated)
    await check_async("cancel", cancelled)
    await check_async("cancel by client id", cancelled_by_cid)
    await check_async("fill", filled)
    await check_async("wallet update", wallets)
    await check_async("position", position)
    await check_async("multi", multi)
    await check_async("calc", calc)
    await check_async("refused order is told", refused_order)
    assert not task.done(), task


async def refusals():
    async def unauthenticated(key, secret):
        async def wait(_, task):
            await asyncio.wait_for(asyncio.shield(task), PATIENCE_S)

        try:
            await run_client(wait, key=key, secret=secret)
        except InvalidCredentialError:
            return "InvalidCredentialError"
        raise AssertionError("accepted")

    await check_async("bad key", lambda: unauthenticated("nobody", "nothing"))
    await check_async("bad secret", lambda: unauthenticated(KEY, "wrong"))
    spoil_nonce()
    await check_async("bad nonce", lambda: unauthenticated(*SPOILT))


def rest_calls():
    def client(key=KEY, secret=SECRET):
        return Client(key, secret, rest_host=REST, wss_host=WS).rest

    public, auth = Client(rest_host=REST, wss_host=WS).rest.public, client().auth
    placed = {}

    def is_open():
        assert public.get_platform_status().status == 1

    def book():
        levels = public.get_t_book(SYMBOL, "P0", len=25)
        assert levels[0].price < levels[25].price, levels
        return rows(levels, 50)

    def submit(**more):
        order = {"type": "EXCHANGE LIMIT", "symbol": SYMBOL, "amount": 0.01, "price": 1000}
        return auth.submit_order(**{**order, "cid": next_cid(), **more})

    def submitted():
        note = submit()
        assert note.status == "SUCCESS", note
        placed["id"] = (note.data[0] if isinstance(note.data, list) else note.data).id
        return f"id {placed['id']}"

    def updated():
        note = auth.update_order(placed["id"], price=1100)
        assert note.status == "SUCCESS" and note.data.price == 1100, note

    def orders():
        found = auth.get_orders(symbol=SYMBOL)
        assert placed["id"] in [order.id for order in found], found
        return rows(found)

    def cancelled():
        note = auth.cancel_order(id=placed["id"])
        assert note.status == "SUCCESS", note

    def multi():
        for _ in range(2):
            submit(gid=10)
        note = auth.cancel_order_multi(gid=[10])
        assert note.status == "SUCCESS" and len(note.data) == 2, note

    def filled():
        submit(type="EXCHANGE MARKET")
        trades = auth.get_trades_history(symbol=SYMBOL)
        rows(auth.get_order_trades(SYMBOL, trades[0].order_id))
        return rows(trades)

    def positions():
        submit(type="MARKET")
        found = auth.get_positions()
        submit(type="MARKET", amount=-0.01)
        return rows(found)

    def rate_limit():
        for _ in range(100):
            public.get_platform_status()

    check("REST platform status", is_open)
    check("REST conf", lambda: rows(public.conf("pub:list:pair:exchange")))
    check("REST tickers", lambda: rows(public.get_t_tickers([SYMBOL, "tETHUSD"]), 2))
    check("REST tickers, all", lambda: rows(public.get_t_tickers("ALL"), 2))
    check("REST ticker", lambda: str(public.get_t_ticker(SYMBOL).last_price))
    check("REST book", book)
    check("REST raw book", lambda: rows(public.get_t_raw_book(SYMBOL), 50))
    check("REST trades", lambda: rows(public.get_t_trades(SYMBOL, limit=20, sort=1)))
    check("REST candles", lambda: rows(public.get_candles_hist(SYMBOL, "1m", limit=50), 50))
    check("REST last candle", lambda: str(public.get_candles_last(SYMBOL, "1m").close))
    check("REST derivative status", lambda: rows(public.get_derivatives_status("ALL")))
    check("REST submit", submitted)
    check("REST update", updated)
    check("REST orders", orders)
    check("REST orders by id", lambda: rows(auth.get_orders(ids=[placed["id"]])))
    check("REST cancel", cancelled)
    check("REST order history", lambda: rows(auth.get_orders_history(symbol=SYMBOL, limit=5)))
    check("REST multi", multi)
    check("REST fill, trades, order trades", filled)
    check("REST wallets", lambda: rows(auth.get_wallets()))
    check("REST positions", positions)
    check("REST positions history", lambda: rows(auth.get_positions_history()))
    check("REST ledgers", lambda: rows(auth.get_ledgers("USD")))
    check("REST user info", lambda: str(auth.get_user_info().id))
    check("REST margin info", lambda: str(auth.get_base_margin_info().margin_balance))
    check("REST margin info of a symbol", lambda: str(auth.get_symbol_margin_info(SYMBOL).symbol))
    check(
        "REST available balance",
        lambda: auth.get_balance_available_for_orders_or_offers(
            SYMBOL, "EXCHANGE", dir=1, rate="50000"
        ).amount,
    )
    check(
        "REST unknown symbol",
        lambda: refused(
            lambda: public.get_t_ticker("tNOPE"), RequestParameterError, "symbol: invalid"
        ),
    )
    check(
        "REST refused order",
        lambda: refused(lambda: submit(amount=1_000_000), GenericError, "Invalid order"),
    )
    check(
        "REST bad key",
        lambda: refused(client("nobody", "nothing").auth.get_wallets, InvalidCredentialError, ""),
    )
    check(
        "REST bad secret",
        lambda: refused(client(KEY, "wrong").auth.get_wallets, InvalidCredentialError, ""),
    )
    spoil_nonce()
    check(
        "REST bad nonce",
        lambda: refused(client(*SPOILT).auth.get_wallets, RuntimeError, "10114"),
    )
    check("REST rate limit", lambda: refused(rate_limit, RuntimeError, "11010"))


async def main():
    for act, prepare in ((streams, lambda _: None), (account, listen)):
        try:
            await run_client(act, prepare)
        except Exception as error:  # what the client itself dies of is a result
            failed(f"({act.__name__})", error)
    await refusals()


asyncio.run(main())
rest_calls()
sys.exit(1 if common.failures else 0)
