//! Checks of signatures, as the venue does them: HMAC-SHA384 of a text, lower-case hex.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;

/// Highest nonce the venue takes: 2^53 − 1.
pub const NONCE_TOP: u64 = (1 << 53) - 1;

/// Hex signature of a text.
pub fn sign(secret: &str, parts: &[&[u8]]) -> String {
    // HMAC takes keys of any length; an empty one signs like any other and is refused at set-up.
    let mut mac = match Hmac::<Sha384>::new_from_slice(secret.as_bytes()) {
        Ok(mac) => mac,
        Err(_) => return String::new(),
    };
    for part in parts {
        mac.update(part);
    }
    let digest = mac.finalize().into_bytes();
    let digits = b"0123456789abcdef";
    let hex = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    hex.map(|nibble| digits[nibble as usize] as char).collect()
}

/// True where `signature` is the text's; compared without a data-dependent exit.
pub fn verify(secret: &str, parts: &[&[u8]], signature: &str) -> bool {
    let expected = sign(secret, parts);
    let given = signature.as_bytes();
    let same = expected.bytes().zip(given).fold(0u8, |diff, (a, b)| diff | (a ^ b));
    !expected.is_empty() && expected.len() == given.len() && same == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        let s1 = "6e7e3ab737bac9d36b6c3170356c9483edb0079cb65a2afa81efa9a6b906e0c3aeb16b574a44073dff4c0f604adbdd7d";
        assert_eq!(sign("apiSecret1", &[b"AUTHnonce1"]), s1);
        assert!(verify("apiSecret1", &[b"AUTH", b"nonce1"], s1));
        assert!(!verify("apiSecret1", &[b"AUTHnonce2"], s1));
        assert!(!verify("apiSecret1", &[b"AUTHnonce1"], &s1[1..]));
        let s4 = "3a412ae5c5be49843ed7c301d32c86ec6fd14d50a14f554f004b6720a27be49f0c4ac3b9c4b0a604d77f198d8ba3833c";
        assert_eq!(
            sign("test-secret", &[b"/api/v2/auth/r/wallets", b"1700000000000000", b"{}"]),
            s4
        );
    }
}
