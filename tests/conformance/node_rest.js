'use strict'
// bfx-api-node-rest (RESTv2) against the exchange: public reads, account reads, writes, refusals.

const { RESTv2 } = require('bfx-api-node-rest')
const models = require.resolve('bfx-api-node-models', {
  paths: [require.resolve('bfx-api-node-rest')]
})
const { Order } = require(models)
const { venue, check, mustFail, expect, spoilNonce, nextCid, done } = require('./common')

const rest = new RESTv2({
  apiKey: venue.key, apiSecret: venue.secret, url: venue.rest, transform: true
})
const symbol = 'tBTCUSD'
const rows = (list, least = 1) => {
  expect(Array.isArray(list) && list.length >= least, `${JSON.stringify(list)}`)
  return `${list.length} rows`
}

async function reads () {
  await check('REST platform status', async () => { expect((await rest.status())[0] === 1, '') })
  await check('REST conf', async () => {
    const keys = ['pub:list:pair:exchange', 'pub:info:pair', 'pub:map:currency:sym']
    const lists = await rest.conf({ keys })
    expect(lists.length === 3 && lists[0].includes('BTCUSD'), JSON.stringify(lists))
    return `${lists[0].length} pairs`
  })
  await check('REST symbols', async () => rows(await rest.symbols()))
  await check('REST futures', async () => rows(await rest.futures()))
  await check('REST tickers', async () => {
    const tickers = await rest.tickers({ symbols: [symbol, 'tETHUSD'] })
    expect(tickers[0].lastPrice > 0, JSON.stringify(tickers))
    return rows(tickers, 2)
  })
  await check('REST ticker', async () => {
    const ticker = await rest.ticker({ symbol })
    expect(ticker.bid > 0 && ticker.bid < ticker.ask, JSON.stringify(ticker))
  })
  await check('REST book', async () => rows(await rest.orderBook({ symbol, prec: 'P0' }), 50))
  await check('REST raw book', async () => rows(await rest.orderBook({ symbol, prec: 'R0' }), 50))
  await check('REST trades', async () => {
    const sorted = await rest.trades({ symbol, limit: 20, sort: 1 })
    const times = sorted.map((trade) => trade.mts)
    expect(times.every((at, i) => i === 0 || times[i - 1] <= at), 'not sorted')
    return rows(sorted)
  })
  await check('REST candles', async () => {
    const query = { limit: 50 }
    const candles = await rest.candles({ timeframe: '1m', symbol, section: 'hist', query })
    expect(candles[0].high >= candles[0].low, JSON.stringify(candles[0]))
    return rows(candles, 50)
  })
  await check('REST derivative status', async () => {
    const list = await rest.statusMessages({ type: 'deriv', keys: ['tBTCF0:USTF0'] })
    return rows(list)
  })
}

async function writes () {
  const order = (fields) => new Order({
    cid: nextCid(), symbol, amount: 0.01, type: 'EXCHANGE LIMIT', price: 1000, ...fields
  })
  let placed
  await check('REST submit', async () => {
    placed = await rest.submitOrder({ order: order({}) })
    expect(placed.id > 0 && placed.status === 'ACTIVE', JSON.stringify(placed))
    return `id ${placed.id}`
  })
  await check('REST update', async () => {
    const note = await rest.updateOrder({ id: placed.id, price: '1100' })
    expect(note.status === 'SUCCESS', JSON.stringify(note))
  })
  await check('REST orders', async () => {
    const orders = await rest.activeOrders()
    expect(orders.find((one) => one.id === placed.id).price === 1100, JSON.stringify(orders))
    return rows(orders)
  })
  await check('REST orders by id', async () => {
    return rows(await rest.activeOrdersWithIds({ ids: [placed.id] }))
  })
  await check('REST cancel', async () => {
    const note = await rest.cancelOrder({ id: placed.id })
    expect(note.status === 'SUCCESS', JSON.stringify(note))
  })
  await check('REST cancel by client id', async () => {
    const sent = order({})
    await rest.submitOrder({ order: sent })
    const date = new Date().toISOString().slice(0, 10)
    const note = await rest.cancelOrderWithCid({ cid: sent.cid, date })
    expect(note.status === 'SUCCESS', JSON.stringify(note))
  })
  await check('REST order history', async () => rows(await rest.orderHistory({ symbol, limit: 5 })))
  await check('REST multi', async () => {
    const note = await rest.submitOrderMulti({ orders: [order({ gid: 9 }), order({ gid: 9 })] })
    expect(note.status === 'SUCCESS', JSON.stringify(note))
    const cancelled = await rest.cancelOrderMulti({ gid: [9] })
    expect(cancelled.status === 'SUCCESS', JSON.stringify(cancelled))
    expect((await rest.activeOrders()).length === 0, 'orders are left')
  })
  await check('REST fill, trades, order trades', async () => {
    const filled = await rest.submitOrder({ order: order({ type: 'EXCHANGE MARKET' }) })
    const trades = await rest.accountTrades({ symbol })
    expect(trades.some((trade) => trade.orderID === filled.id), JSON.stringify(trades))
    return rows(await rest.orderTrades({ symbol, orderId: filled.id }))
  })
  await check('REST wallets', async () => rows(await rest.wallets()))
  await check('REST positions', async () => {
    await rest.submitOrder({ order: order({ type: 'MARKET' }) })
    const open = await rest.positions()
    await rest.submitOrder({ order: order({ type: 'MARKET', amount: -0.01 }) })
    return rows(open)
  })
  await check('REST positions history', async () => rows(await rest.positionsHistory()))
  await check('REST ledgers', async () => {
    return rows(await rest.ledgers({ filters: { ccy: 'USD' } }))
  })
  await check('REST user info', async () => { expect((await rest.userInfo()).id > 0, 'no id') })
  await check('REST permissions', async () => rows(await rest.keyPermissions(), 5))
  await check('REST summary', async () => {
    const summary = await rest.accountSummary()
    expect(JSON.stringify(summary).includes('0.002'), JSON.stringify(summary))
  })
  await check('REST margin info', async () => { await rest.marginInfo({ key: 'base' }) })
  await check('REST available balance', async () => {
    const [amount] = await rest.calcAvailableBalance({
      symbol, dir: 1, rate: '50000', type: 'EXCHANGE'
    })
    expect(Math.abs(amount) > 0, `${amount}`)
  })
  await check('REST token', async () => {
    const [token] = await rest.generateToken({ scope: 'api', ttl: 120, writePermission: false })
    const reader = new RESTv2({ authToken: token, url: venue.rest })
    return rows(await reader.wallets())
  })
}

async function refusals () {
  const other = (apiKey, apiSecret) => new RESTv2({ apiKey, apiSecret, url: venue.rest })
  await check('REST unknown symbol', () => mustFail(rest.ticker({ symbol: 'tNOPE' }), /10020/))
  await check('REST refused order', () => mustFail(rest.submitOrder({
    order: new Order({ symbol, amount: 1e6, price: 1000, type: 'EXCHANGE LIMIT' })
  }), /10001.*Invalid order|Invalid order.*10001/))
  await check('REST bad key', () => mustFail(other('nobody', 'nothing').wallets(), /10100/))
  await check('REST bad secret', () => mustFail(other(venue.key, 'wrong').wallets(), /10100/))
  await check('REST bad nonce', async () => {
    await spoilNonce()
    return mustFail(other(venue.spoiltKey, venue.spoiltSecret).wallets(), /10114.*nonce|nonce/)
  })
  await check('REST rate limit', () => mustFail((async () => {
    for (let call = 0; call < 100; call += 1) await rest.status()
  })(), /429/))
}

reads().then(writes).then(refusals).then(done)
