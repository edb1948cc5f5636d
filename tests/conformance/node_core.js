'use strict'
// bfx-api-node-core (Manager, with its plugins for checksums and sequence numbers) against the
// exchange.

const core = require('bfx-api-node-core')
const checksums = require('bfx-api-node-plugin-ob-checksum')
const sequence = require('bfx-api-node-plugin-seq-audit')
const { RESTv2 } = require('bfx-api-node-rest')
const { venue, check, expect, until, sleep, spoilNonce, nextCid, done } = require('./common')

// The manager replaces its states; the one that `openWS` returns is stale once the socket is open.
const opened = (manager) => {
  const { id } = manager.openWS()
  return new Promise((resolve) => manager.once('ws2:open', () => resolve(manager.getWS(id))))
}
function managed (options) {
  const manager = new core.Manager({ wsURL: venue.ws, ...options })
  manager.errors = []
  manager.on('ws2:error', (error) => manager.errors.push(String(error && error.message)))
  manager.on('error', (error) => manager.errors.push(String(error && error.message)))
  return manager
}

async function streams () {
  const manager = managed({ transform: false, plugins: [checksums(), sequence()] })
  const count = { book: 0, sums: 0, trades: 0, ticker: 0, candles: 0 }
  manager.on('ws2:book', () => { count.book += 1 })
  manager.on('ws2:bookCS', () => { count.sums += 1 })
  manager.on('ws2:trades', () => { count.trades += 1 })
  manager.on('ws2:ticker', () => { count.ticker += 1 })
  manager.on('ws2:candles', () => { count.candles += 1 })
  const state = await opened(manager)
  const start = Date.now()
  for (const symbol of ['tBTCUSD', 'tETHUSD']) {
    core.subscribe(state, 'book', { symbol, prec: 'P0', freq: 'F0', len: '25' })
  }
  core.subscribe(state, 'trades', { symbol: 'tBTCUSD' })
  core.subscribe(state, 'ticker', { symbol: 'tBTCUSD' })
  core.subscribe(state, 'candles', { key: 'trade:1m:tBTCUSD' })
  await sleep(venue.streamMs)
  const rate = Math.round(count.book / ((Date.now() - start) / 1000))
  const audit = (pattern) => {
    const found = manager.errors.filter((error) => pattern.test(error))
    expect(found.length === 0, `${found.length} errors, first: ${found[0]}`)
  }
  await check('books, checksums audited', async () => {
    audit(/checksum/)
    expect(count.sums > 0, 'no checksum came')
    expect(rate >= venue.rateMin, `${rate} messages/s, wanted ${venue.rateMin}`)
    return `${count.book} messages, ${rate}/s, ${count.sums} checksums`
  })
  await check('sequence audited', async () => { audit(/seq/) })
  await check('trades', async () => { expect(count.trades > 1, 'none') })
  await check('ticker', async () => { expect(count.ticker > 0, 'none') })
  await check('candles', async () => { expect(count.candles > 1, 'none') })
  await check('unsubscribe', async () => {
    const ticker = () => Object.entries(manager.getWSByIndex(0).channels)
      .find(([, channel]) => channel.channel === 'ticker')
    core.unsubscribe(manager.getWSByIndex(0), Number(ticker()[0]))
    await until('the channel is gone', () => !ticker())
  })
  manager.closeAllSockets()
}

async function account () {
  const keys = { apiKey: venue.key, apiSecret: venue.secret }
  const manager = managed({ ...keys, transform: true, plugins: [sequence()] })
  const seen = {}
  for (const type of ['ps', 'ws', 'os', 'on', 'ou', 'oc', 'te', 'tu', 'wu', 'pn', 'pu', 'pc']) {
    seen[type] = []
    manager.on(`ws2:auth:${type}`, (payload, meta) => seen[type].push(meta.chanFilter))
  }
  manager.on('ws2:auth:n', () => {})
  let state
  await check('auth and snapshots', async () => {
    await opened(manager)
    await until('snapshots', () => seen.ws.length && seen.os.length && seen.ps.length)
    state = await until('authenticated', () => manager.wsPool.find((ws) => ws.authenticated))
  })
  const order = (fields) => ({
    cid: nextCid(), symbol: 'tBTCUSD', amount: 0.01, type: 'EXCHANGE LIMIT', ...fields
  })
  let resting
  await check('submit', async () => {
    resting = await core.submitOrder(state, order({ price: 1000 }))
  })
  const found = () => seen.on.find((one) => one.price === 1000)
  await check('update', async () => {
    await until('on', found)
    await core.updateOrder(state, { id: found().id, price: '1100' })
    await until('ou', () => seen.ou.some((one) => one.price === 1100))
  })
  await check('cancel', async () => {
    expect(resting !== undefined, 'nothing was submitted')
    await core.cancelOrder(state, found().id)
    await until('oc', () => seen.oc.some((one) => one.id === found().id))
  })
  await check('fill', async () => {
    const sent = order({ type: 'EXCHANGE MARKET', amount: 0.02 })
    await core.submitOrder(state, sent)
    await until('oc', () => seen.oc.some((one) => one.cid === sent.cid))
    await until('te and tu', () => seen.te.length > 0 && seen.tu.length === seen.te.length)
    return `${seen.te.length} te, ${seen.tu.length} tu`
  })
  await check('wallet update', async () => { await until('wu', () => seen.wu.length > 0) })
  await check('position', async () => {
    await core.submitOrder(state, order({ type: 'MARKET', amount: 0.01 }))
    await until('position', () => seen.pn.length > 0)
    await core.submitOrder(state, order({ type: 'MARKET', amount: -0.01 }))
    await until('closed', () => seen.pc.length > 0)
  })
  await check('multi', async () => {
    const sent = [order({ price: 1001, gid: 78 }), order({ price: 1002, gid: 78 })]
    await Promise.all(sent.map((one) => core.submitOrder(state, one)))
    const mine = () => seen.on.filter((one) => one.gid === 78)
    await until('both on', () => mine().length === 2)
    await core.cancelOrdersByGid(state, { gid: 78 })
    await until('both gone', () => mine().every((one) => seen.oc.some((c) => c.id === one.id)))
  })
  await check('refused order is told', async () => {
    let told
    await core.submitOrder(state, order({ price: 1000, amount: 1e6 })).catch((n) => { told = n })
    expect(told && told.status === 'ERROR', JSON.stringify(told))
    return String(told.text).slice(0, 60)
  })
  await check('sequence audited, account', async () => {
    const errors = manager.errors.filter((error) => /seq/.test(error))
    expect(errors.length === 0, `${errors.length} errors, first: ${errors[0]}`)
  })
  manager.closeAllSockets()
}

async function refusals () {
  const attempt = async (authArgs) => {
    const manager = managed(authArgs)
    const answer = new Promise((resolve) => {
      manager.on('ws2:event:auth', resolve)
      manager.on('ws2:auth', resolve)
    })
    let told
    const state = manager.openWS()
    state.ev.on('event:auth', (packet) => { told = packet })
    await Promise.race([answer, until('answer', () => told)])
    manager.closeAllSockets()
    return told
  }
  const refused = async (apiKey, apiSecret, code) => {
    const told = await attempt({ apiKey, apiSecret })
    expect(told.status !== 'OK' && told.code === code, JSON.stringify(told))
    return told.msg
  }
  await check('bad key', () => refused('nobody', 'nothing', 10100))
  await check('bad secret', () => refused(venue.key, 'wrong', 10100))
  await check('token instead of key', async () => {
    const rest = new RESTv2({ apiKey: venue.key, apiSecret: venue.secret, url: venue.rest })
    const [authToken] = await rest.generateToken({ scope: 'api', ttl: 120, writePermission: true })
    const told = await attempt({ authToken })
    expect(told.status === 'OK', JSON.stringify(told))
  })
  await check('bad nonce', async () => {
    await spoilNonce()
    return refused(venue.spoiltKey, venue.spoiltSecret, 10114)
  })
}

streams().then(account).then(refusals).then(done)
