//! What the engine's messages to the exchange say: read from their text, as a stranger would.

use super::checks::duplicate::Terms;
use super::setup::SYMBOLS;
use crate::base::units::parse_decimal;

/// One request of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    New { cid: u64, terms: Terms },
    Amend { id: u64 },
    Other,
}

/// Value of the member `key` of the first object of `text`, without quotes.
pub fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let start = text.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &text[start..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([',', '}']).next(),
    }
}
fn units(text: &str, key: &str) -> i64 {
    let value = member(text, key).and_then(|value| parse_decimal(value.as_bytes()).ok());
    value.map_or(0, |(raw, _)| raw)
}

/// What a message of the trading socket asks for; of a replacement the new order.
pub fn asked(text: &str) -> Asked {
    let Some(kind) = text.strip_prefix("[0,\"") else { return Asked::Other };
    if kind.starts_with("ou\"") {
        let id = member(text, "id").and_then(|id| id.parse().ok());
        return id.map_or(Asked::Other, |id| Asked::Amend { id });
    }
    let order = match kind {
        _ if kind.starts_with("on\"") => Some(text),
        _ if kind.starts_with("ox_multi\"") => text.find("[\"on\",").map(|at| &text[at..]),
        _ => None,
    };
    order.map_or(Asked::Other, order_of)
}
/// The new order that an object asks for, as the body of a call has it, too.
pub fn order_of(order: &str) -> Asked {
    let symbol = member(order, "symbol").unwrap_or_default();
    let symbol = SYMBOLS.iter().position(|name| *name == symbol).unwrap_or(usize::MAX);
    Asked::New {
        cid: member(order, "cid").and_then(|cid| cid.parse().ok()).unwrap_or(0),
        terms: Terms {
            symbol: u16::try_from(symbol).unwrap_or(u16::MAX),
            qty: units(order, "amount"),
            px: units(order, "price"),
            flags: member(order, "flags").and_then(|flags| flags.parse().ok()).unwrap_or(0),
        },
    }
}

/// The same message with the value of one member of its first object changed; quotes stay.
pub fn with_member(text: &str, key: &str, value: &str) -> Option<String> {
    let old = member(text, key)?;
    let at = old.as_ptr() as usize - text.as_ptr() as usize;
    Some([&text[..at], value, &text[at + old.len()..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_from_their_text() {
        let text = "[0,\"on\",null,{\"gid\":7,\"cid\":12,\"type\":\"LIMIT\",\
                    \"symbol\":\"tETHUSD\",\"amount\":\"-0.5\",\"price\":\"10\",\"flags\":4096}]";
        let terms = Terms { symbol: 1, qty: -50_000_000, px: 1_000_000_000, flags: 4096 };
        assert_eq!(asked(text), Asked::New { cid: 12, terms });
        let bad = with_member(text, "price", "-1").unwrap();
        assert!(bad.contains("\"price\":\"-1\",\"flags\""), "{bad}");
        assert_eq!(asked("[0,\"ou\",null,{\"id\":41,\"price\":\"1\"}]"), Asked::Amend { id: 41 });
        assert_eq!(asked("{\"event\":\"ping\"}"), Asked::Other);
        let both = "[0,\"ox_multi\",null,[[\"oc\",{\"id\":3}],[\"on\",{\"cid\":9,\
                    \"symbol\":\"tBTCUSD\",\"amount\":\"1\",\"price\":\"2\"}]]]";
        assert!(matches!(asked(both), Asked::New { cid: 9, .. }));
    }
}
