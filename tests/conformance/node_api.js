'use strict'
// bitfinex-api-node (WSv2) against the exchange: managed books with their checksum and sequence
// audits, public channels, order entry, refusals.

const { WSv2 } = require('bitfinex-api-node')
const { Order } = require('bfx-api-node-models')
const { venue, check, expect, until, sleep, spoilNonce, nextCid, done } = require('./common')

function client (options) {
  const ws = new WSv2({ url: venue.ws, ...options })
  ws.errors = []
  ws.on('error', (error) => {
    ws.errors.push(error instanceof Error ? error.message : JSON.stringify(error))
  })
  return ws
}
// Flags are set before the opening: of a second one set later this client awaits an answer that
// names it alone, and the venue's names the sum.
async function opened (options, flag = 0) {
  const ws = client(options)
  if (flag) await ws.enableFlag(flag)
  await ws.open()
  return ws
}
const audited = (options) => opened({ seqAudit: true, ...options }, WSv2.flags.CHECKSUM)

async function streams () {
  const ws = await audited({ manageOrderBooks: true, manageCandles: true })
  const count = { book: 0, sums: 0, trades: 0, updates: 0, ticker: 0, candles: 0, status: 0 }
  ws.on('orderbook', () => { count.book += 1 })
  ws.on('cs', (symbol) => { if (typeof symbol === 'string') count.sums += 1 })
  ws.on('message', (message) => {
    if (message[1] === 'te') count.trades += 1
    if (message[1] === 'tu') count.updates += 1
  })
  ws.onTicker({ symbol: 'tBTCUSD' }, () => { count.ticker += 1 })
  ws.onCandle({ key: 'trade:1m:tBTCUSD' }, () => { count.candles += 1 })
  ws.onStatus({ key: 'deriv:tBTCF0:USTF0' }, () => { count.status += 1 })
  const start = Date.now()
  for (const symbol of ['tBTCUSD', 'tETHUSD']) await ws.subscribeOrderBook(symbol, 'P0', '25')
  await ws.subscribeTrades('tBTCUSD')
  await ws.subscribeTicker('tBTCUSD')
  await ws.subscribeCandles('trade:1m:tBTCUSD')
  await ws.subscribeStatus('deriv:tBTCF0:USTF0')
  await sleep(venue.streamMs)
  const seconds = (Date.now() - start) / 1000
  const audit = (pattern) => {
    const found = ws.errors.filter((error) => pattern.test(error))
    expect(found.length === 0, `${found.length} errors, first: ${found[0]}`)
  }
  await check('books, checksums audited', async () => {
    const rate = Math.round(count.book / seconds)
    audit(/checksum|OB/)
    expect(count.sums > 0, 'no checksum came')
    expect(rate >= venue.rateMin, `${rate} messages/s, wanted ${venue.rateMin}`)
    return `${count.book} messages, ${rate}/s, ${count.sums} checksums`
  })
  await check('sequence audited', async () => { audit(/seq/) })
  await check('trades', async () => {
    expect(count.trades > 0 && count.updates > 0, JSON.stringify(count))
    return `${count.trades} te, ${count.updates} tu`
  })
  await check('ticker', async () => { expect(count.ticker > 0, 'none') })
  await check('candles', async () => {
    const candles = ws.getCandles('trade:1m:tBTCUSD')
    expect(count.candles > 1 && candles.length > 50, `${count.candles} frames`)
    return `${candles.length} managed`
  })
  await check('derivative status', async () => { expect(count.status > 0, 'none') })
  await check('unsubscribe', async () => {
    const gone = new Promise((resolve) => ws.once('unsubscribed', resolve))
    ws.unsubscribe(Number(ws.getDataChannelId('ticker', { symbol: 'tBTCUSD' })))
    await gone
  })
  await check('unknown symbol refused', async () => {
    ws.errors.length = 0
    ws.subscribe('trades', { symbol: 'tNOPEUSD' })
    await until('the error', () => ws.errors.some((error) => /10300/.test(error)))
  })
  await ws.close()
}

async function rawBook () {
  await check('raw book, checksums audited', async () => {
    const ws = await audited({ manageOrderBooks: true })
    let sums = 0
    ws.on('cs', (symbol) => { if (typeof symbol === 'string') sums += 1 })
    await ws.subscribeOrderBook('tBTCUSD', 'R0', '25')
    await until('three checksums', () => sums >= 3, 12000)
    expect(ws.errors.length === 0, ws.errors[0])
    await ws.close()
    return `${sums} checksums`
  }, 15000)
}

async function account () {
  const ws = await opened({
    apiKey: venue.key, apiSecret: venue.secret, transform: true, seqAudit: true
  })
  const seen = { wallets: 0, os: 0, ps: 0, te: [], tu: [], oc: [], on: [], wu: 0, pu: [], miu: 0 }
  ws.onWalletSnapshot({}, (wallets) => { seen.wallets = wallets.length })
  ws.onOrderSnapshot({}, () => { seen.os += 1 })
  ws.onPositionSnapshot({}, () => { seen.ps += 1 })
  ws.onAccountTradeEntry({}, (trade) => seen.te.push(trade))
  ws.onAccountTradeUpdate({}, (trade) => seen.tu.push(trade))
  ws.onOrderNew({}, (order) => seen.on.push(order))
  ws.onOrderClose({}, (order) => seen.oc.push(order))
  ws.onWalletUpdate({}, () => { seen.wu += 1 })
  for (const listen of ['onPositionNew', 'onPositionUpdate', 'onPositionClose']) {
    ws[listen]({}, (position) => seen.pu.push(position))
  }
  await check('auth and snapshots', async () => {
    await ws.auth()
    await until('wallets', () => seen.wallets > 0)
    return `${seen.wallets} wallets`
  })
  const order = (fields) => new Order({
    cid: nextCid(), symbol: 'tBTCUSD', amount: 0.01, type: Order.type.EXCHANGE_LIMIT, ...fields
  }, ws)
  let resting
  await check('submit', async () => {
    resting = await ws.submitOrder(order({ price: 1000 }))
    await until('on', () => seen.on.length > 0)
    return `id ${resting[0]}`
  })
  await check('update', async () => {
    const changed = await ws.updateOrder({ id: resting[0], price: '1100' })
    expect(changed[0] === resting[0], JSON.stringify(changed))
  })
  await check('cancel', async () => {
    await ws.cancelOrder(resting[0])
    const closed = await until('oc', () => seen.oc.find((closed) => closed.id === resting[0]))
    expect(/^CANCELED/.test(closed.status), closed.status)
  })
  await check('fill', async () => {
    const sent = order({ type: Order.type.EXCHANGE_MARKET, amount: 0.02 })
    await ws.submitOrder(sent)
    const closed = await until('oc', () => seen.oc.find((closed) => closed.cid === sent.cid))
    await until('te and tu', () => seen.te.length > 0 && seen.tu.length === seen.te.length)
    expect(/^EXECUTED/.test(closed.status), closed.status)
    expect(seen.tu.every((trade) => trade.fee < 0), 'a fee is charged')
    return `${seen.te.length} te, ${seen.tu.length} tu`
  })
  await check('wallet update', async () => { await until('wu', () => seen.wu > 0) })
  await check('position', async () => {
    await ws.submitOrder(order({ type: Order.type.MARKET, amount: 0.01 }))
    const position = await until('position', () => seen.pu.at(-1))
    await ws.submitOrder(order({ type: Order.type.MARKET, amount: -0.01 }))
    await until('closed', () => seen.pu.some((position) => position.status === 'CLOSED'))
    return `${position.symbol} ${position.amount}`
  })
  await check('multi', async () => {
    const [a, b] = [order({ price: 1001 }), order({ price: 1002, gid: 77 })]
    await ws.submitOrderMultiOp([['on', a.toNewOrderPacket()], ['on', b.toNewOrderPacket()]])
    const both = () => [a, b].map((sent) => seen.on.find((order) => order.cid === sent.cid))
    const [x, y] = await until('both on', () => both().every(Boolean) && both())
    ws.send([0, 'ox_multi', null, [['oc', { id: x.id }], ['oc_multi', { gid: [77] }]]])
    await until('both gone', () => [x, y].every((o) => seen.oc.some((c) => c.id === o.id)))
  })
  await check('order buffer (ox_multi)', async () => {
    const buffered = await opened({
      apiKey: venue.key, apiSecret: venue.secret, orderOpBufferDelay: 50
    })
    await buffered.auth()
    const sent = await Promise.all([1, 2, 3].map(
      (step) => buffered.submitOrder(order({ price: 1000 + step }))
    ))
    await buffered.cancelOrders(sent.map((one) => one[0]))
    await buffered.close()
  })
  await check('calc', async () => {
    const before = seen.wu
    ws.requestCalc(['wallet_exchange_USD', 'position_tBTCUSD', 'balance'])
    await until('wu', () => seen.wu > before)
  })
  await check('refused order is told', async () => {
    let told
    await ws.submitOrder(order({ price: 1000, amount: 1e6 })).catch((error) => { told = error })
    expect(told && /Invalid order|not enough/.test(told.message), told && told.message)
    return told.message.slice(0, 60)
  })
  await check('sequence audited, account', async () => {
    const found = ws.errors.filter((error) => /seq/.test(error))
    expect(found.length === 0, `${found.length} errors, first: ${found[0]}`)
  })
  await check('dead-man switch', async () => {
    const dying = await opened({ apiKey: venue.key, apiSecret: venue.secret })
    await dying.auth(0, 4)
    const left = await dying.submitOrder(order({ price: 1003 }))
    await dying.close()
    await until('oc', () => seen.oc.some((closed) => closed.id === left[0]))
  })
  await ws.close()
}

async function refusals () {
  const refused = async (apiKey, apiSecret, pattern) => {
    const ws = await opened({ apiKey, apiSecret })
    ws.auth().catch(() => {})
    const words = await until('refusal', () => ws.errors.find((error) => pattern.test(error)))
    await ws.close()
    return words.slice(0, 60)
  }
  await check('bad key', () => refused('nobody', 'nothing', /auth failed: apikey: invalid/))
  await check('bad secret', () => refused(venue.key, 'wrong', /auth failed: apikey: invalid/))
  await check('bad nonce', async () => {
    await spoilNonce()
    return refused(venue.spoiltKey, venue.spoiltSecret, /nonce small/)
  })
}

streams().then(rawBook).then(account).then(refusals).then(done)
