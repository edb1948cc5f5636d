'use strict'
// What the Node programs share: where the exchange is, one line of result a call, and a raw signed
// request that spoils a key's nonce. Started by scripts/conformance, which sets the environment.

const crypto = require('crypto')

const venue = {
  ws: process.env.VENUE_WS,
  rest: process.env.VENUE_REST,
  key: process.env.VENUE_KEY,
  secret: process.env.VENUE_SECRET,
  spoiltKey: process.env.VENUE_SPOILT_KEY,
  spoiltSecret: process.env.VENUE_SPOILT_SECRET,
  streamMs: Number(process.env.STREAM_S) * 1000,
  rateMin: Number(process.env.RATE_MIN)
}
const PATIENCE_MS = 10000
let failures = 0

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const line = (call, result, words) => console.log([call, result, words].join('\t'))
function expect (holds, words) {
  if (!holds) throw new Error(words)
}
// Waits until `holds()` gives something.
async function until (what, holds, patience = PATIENCE_MS) {
  const end = Date.now() + patience
  for (;;) {
    const value = holds()
    if (value) return value
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(10)
  }
}
// Runs one call and prints its line; what `act` returns stands beside it.
async function check (call, act, patience = PATIENCE_MS) {
  try {
    const timeout = sleep(patience).then(() => { throw new Error('no answer in time') })
    const words = await Promise.race([act(), timeout])
    line(call, 'ok', words === undefined ? '' : String(words))
  } catch (error) {
    failures += 1
    const words = error instanceof Error ? error.message : JSON.stringify(error)
    const answer = error.response === undefined ? '' : ` (${error.response})`
    line(call, 'FAILED', String(words).replace(/\s+/g, ' ').slice(0, 160) + answer)
  }
}
async function mustFail (promise, pattern) {
  let result
  try {
    result = await promise
  } catch (error) {
    const words = `${error.message || ''} ${error.response || ''} ${error.code || ''} ` +
      JSON.stringify(error)
    expect(pattern.test(words), `refused in other words: ${words}`)
    return (error.response || error.message || '').toString().slice(0, 60)
  }
  throw new Error(`accepted: ${JSON.stringify(result)}`)
}
// Uses the largest nonce there is on the second key: whatever comes later is too small.
async function spoilNonce () {
  const nonce = String(Number.MAX_SAFE_INTEGER)
  const signed = `/api/v2/auth/r/wallets${nonce}{}`
  const signature = crypto.createHmac('sha384', venue.spoiltSecret).update(signed).digest('hex')
  await fetch(`${venue.rest}/v2/auth/r/wallets`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'bfx-nonce': nonce,
      'bfx-apikey': venue.spoiltKey,
      'bfx-signature': signature
    },
    body: '{}'
  })
}
// A client id as the venue wants it: small, and unique today.
let cid = Date.now() % 86400000
const nextCid = () => { cid += 1; return cid }
function done () {
  process.exit(failures === 0 ? 0 : 1)
}
process.on('unhandledRejection', (error) => {
  failures += 1
  line('(program)', 'FAILED', String(error && error.message).replace(/\s+/g, ' '))
})

module.exports = { venue, check, mustFail, expect, until, sleep, spoilNonce, nextCid, done }
