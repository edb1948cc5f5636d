//! Every bound of the program, with its unit, its reason and its relation to the others.
//! Config may be stricter than a limit, never wider.

/// Instruments one engine follows. 294 pairs were listed on 2025-08-10 plus 93 derivatives.
pub const SYMBOLS_MAX: usize = 512;
/// Sockets of one engine: 512 symbols × 3 channels at 25 channels each, plus the trading socket.
pub const SOCKETS_MAX: usize = 64;
/// Channels planned for one socket (sources disagree between 25 and 36; 25 is safe).
pub const CHANNELS_PER_SOCKET: usize = 25;
/// New public connections a minute, for all sockets together; a breach blocks the address for 60 s.
pub const CONNECTS_PER_MINUTE: usize = 20;
/// Levels kept a side: the longest book the venue sells is 250.
pub const BOOK_LEVELS_MAX: usize = 250;
/// Orders of a raw book kept a side.
pub const RAW_ORDERS_MAX: usize = 250;
/// Levels a side that the checksum covers.
pub const CHECKSUM_LEVELS: usize = 25;
/// Levels a side in the view that leaves `parse`.
pub const VIEW_LEVELS: usize = 5;
/// Longest websocket message accepted, bytes. A P0 snapshot of 250 levels is about 20 kB, an order
/// snapshot of 2,500 orders about 600 kB.
pub const MESSAGE_SIZE_MAX: usize = 1 << 20;
/// Bytes one read hands over, at most: a TLS record is at most 16 KiB.
pub const CHUNK_SIZE: usize = 32 * 1024;
/// Longest order-entry message we write, bytes: an `ox_multi` of 75 short operations.
pub const COMMAND_TEXT_MAX: usize = 16 * 1024;
/// Own orders alive at once, each in the ledger's table.
pub const ORDERS_OPEN_MAX: usize = 256;
/// Orders remembered after their end, so that late messages find them.
pub const LEDGER_SLOTS: usize = 4096;
/// Trade ids remembered for de-duplication.
pub const TRADE_IDS_MAX: usize = 8192;
/// Client ids stay below 2^45 (protocol notes, section 3.5).
pub const CID_MAX: u64 = (1 << 45) - 1;
/// Nonces stay at or below 2^53 − 1.
pub const NONCE_MAX: u64 = (1 << 53) - 1;
/// Inputs a duty handles in one turn, at most.
pub const BATCH_MAX: usize = 64;
/// Most outputs that one input of any stage may cause.
pub const BURST_MAX: usize = 64;
/// Smallest depth of a ring.
pub const RING_DEPTH_MIN: usize = 256;
/// Largest depth of a ring.
pub const RING_DEPTH_MAX: usize = 1 << 20;
/// Size of the largest message on a ring, bytes: four cache lines.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// Strategy instances of one run.
pub const STRATEGIES_MAX: usize = 16;
/// Sides a quote intent may have.
pub const QUOTE_SIDES: usize = 2;
/// Rows of the table of REST limits.
pub const REST_ENDPOINTS_MAX: usize = 64;
/// Records of REST calls that wait for whoever keeps them: some ten minutes of all a host allows.
pub const REST_RECORDS_MAX: usize = 4_096;
/// REST calls that wait, of one priority: at 90 a minute the last of them waits 43 s, longer than
/// anything stays fresh.
pub const REST_QUEUE_MAX: usize = 64;
/// REST calls in flight at once, all hosts together: one a lane.
pub const REST_IN_FLIGHT_MAX: usize = 16;
/// Listed pairs and derivatives: 294 and 93 were listed, with room.
pub const PAIRS_MAX: usize = 2048;
/// Currencies known by name: 167 had labels, with room.
pub const CURRENCIES_MAX: usize = 2048;

const _: () = assert!(PAIRS_MAX >= SYMBOLS_MAX);
const _: () = assert!(ORDERS_OPEN_MAX <= LEDGER_SLOTS);
const _: () = assert!(RING_DEPTH_MIN >= BATCH_MAX + BURST_MAX);
const _: () = assert!(VIEW_LEVELS <= CHECKSUM_LEVELS);
const _: () = assert!(CHECKSUM_LEVELS <= BOOK_LEVELS_MAX);
const _: () = assert!(SOCKETS_MAX * CHANNELS_PER_SOCKET >= SYMBOLS_MAX * 3);
