//! The book checksum: CRC-32 (IEEE, reflected) over the text of the best 25 levels a side. Own
//! table and own text, so that the client's routine is tested against something it does not share.

use super::levels::Row;
use super::number::{push_number, push_u64};

/// Levels a side that the checksum covers.
pub const CHECKSUM_ROWS: usize = 25;

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// CRC-32 as in zlib.
pub fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ *byte as u32) & 255) as usize] ^ (crc >> 8);
    !bytes.iter().fold(u32::MAX, step)
}

/// Writes the text that is hashed. `raw` = the key of a row is its order id, else its price.
pub fn push_checksum_text(out: &mut Vec<u8>, bids: &[Row], asks: &[Row], raw: bool) {
    let start = out.len();
    for index in 0..CHECKSUM_ROWS {
        for (rows, sign) in [(bids, 1), (asks, -1)] {
            let Some(row) = rows.get(index) else { continue };
            if out.len() > start {
                out.push(b':');
            }
            if raw {
                push_u64(out, row.id);
            } else {
                push_number(out, row.px);
            }
            out.push(b':');
            push_number(out, sign * row.qty);
        }
    }
}

/// The checksum as the venue sends it: signed. `scratch` is cleared first. Rows are best first.
pub fn checksum(scratch: &mut Vec<u8>, bids: &[Row], asks: &[Row], raw: bool) -> i32 {
    scratch.clear();
    push_checksum_text(scratch, bids, asks, raw);
    crc32(scratch) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::number::read_number;

    fn rows(text: &str) -> (Vec<Row>, Vec<Row>) {
        let numbers: Vec<i64> =
            text.split(':').map(|number| read_number(number.as_bytes()).unwrap().0).collect();
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for pair in numbers.chunks(2) {
            let row = Row { px: pair[0], id: 0, count: 1, qty: pair[1].abs() };
            if pair[1] > 0 { bids.push(row) } else { asks.push(row) }
        }
        (bids, asks)
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        for (text, expected) in [
            ("6000:1:6100:-3:5900:2:6200:-4", 1_756_193_398),
            ("0.1:1:0.15:-1:0.09:5:0.2:-3:0.089:1:0.3:-4", -1_625_836_611),
            ("6000:1:6100:-3:1.7e-7:2:6200:-4", crc32(b"6000:1:6100:-3:1.7e-7:2:6200:-4") as i32),
        ] {
            let (bids, asks) = rows(text);
            let mut scratch = Vec::new();
            assert_eq!(checksum(&mut scratch, &bids, &asks, false), expected, "{text}");
            assert_eq!(scratch, text.as_bytes());
        }
    }

    #[test]
    fn raw_books_hash_order_ids() {
        let row = |id, qty: i64| Row { px: 0, id, count: 1, qty: qty * 100_000_000 };
        let mut scratch = Vec::new();
        let (bids, asks) = ([row(100, 1), row(101, 2)], [row(102, 3), row(103, 4)]);
        assert_eq!(checksum(&mut scratch, &bids, &asks, true), 1_841_538_801);
    }
}
