//! The venue's words, classified once: order types, order states, refusals. Nobody else looks at
//! its text.

use crate::model::{AckOf, OrderKind, OrderStatus, Refusal, WalletKind};

/// Order state by its leading words; the rest of the text grows without bound.
pub fn order_status(text: &[u8]) -> OrderStatus {
    const WORDS: [(&[u8], OrderStatus); 11] = [
        (b"ACTIVE", OrderStatus::Active),
        (b"PARTIALLY FILLED", OrderStatus::PartiallyFilled),
        (b"EXECUTED", OrderStatus::Executed),
        (b"CANCELED", OrderStatus::Canceled),
        (b"POSTONLY CANCELED", OrderStatus::PostOnlyCanceled),
        (b"FILLORKILL CANCELED", OrderStatus::FillOrKillCanceled),
        (b"IOC CANCELED", OrderStatus::IocCanceled),
        (b"INSUFFICIENT", OrderStatus::Insufficient),
        (b"FORCED EXECUTED", OrderStatus::Forced),
        (b"RSN_", OrderStatus::Refused),
        (b"CANCELLED", OrderStatus::Canceled),
    ];
    WORDS
        .iter()
        .find(|(word, _)| text.starts_with(word))
        .map_or(OrderStatus::Other, |(_, status)| *status)
}

/// Order type with its wallet: `EXCHANGE ` in front means spot. `None` for types we do not know.
pub fn order_kind(text: &[u8]) -> Option<(OrderKind, bool)> {
    let (is_exchange, name) = match text.strip_prefix(b"EXCHANGE ") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let kind = match name {
        b"LIMIT" => OrderKind::Limit,
        b"MARKET" => OrderKind::Market,
        b"STOP" => OrderKind::Stop,
        b"STOP LIMIT" => OrderKind::StopLimit,
        b"TRAILING STOP" => OrderKind::TrailingStop,
        b"FOK" => OrderKind::Fok,
        b"IOC" => OrderKind::Ioc,
        _ => return None,
    };
    Some((kind, is_exchange))
}

/// Places of the longest name of an order type, and a few.
pub const ORDER_TYPE_MAX: usize = 24;

/// The same, with zeros behind the name, for writers that copy a fixed size; and the name's length.
#[inline(always)]
pub const fn order_type_padded(
    kind: OrderKind,
    wallet: WalletKind,
) -> (&'static [u8; ORDER_TYPE_MAX], usize) {
    const KINDS: [OrderKind; 7] = [
        OrderKind::Limit,
        OrderKind::Market,
        OrderKind::Stop,
        OrderKind::StopLimit,
        OrderKind::TrailingStop,
        OrderKind::Fok,
        OrderKind::Ioc,
    ];
    const fn row(wallet: WalletKind) -> [([u8; ORDER_TYPE_MAX], usize); KINDS.len()] {
        let mut row = [([0; ORDER_TYPE_MAX], 0); KINDS.len()];
        let mut at = 0;
        while at < KINDS.len() {
            let name = order_type_name(KINDS[at], wallet).as_bytes();
            assert!(KINDS[at] as usize == at);
            let mut place = 0;
            while place < name.len() {
                row[at].0[place] = name[place];
                place += 1;
            }
            row[at].1 = name.len();
            at += 1;
        }
        row
    }
    static SPOT: [([u8; ORDER_TYPE_MAX], usize); KINDS.len()] = row(WalletKind::Exchange);
    static OTHERS: [([u8; ORDER_TYPE_MAX], usize); KINDS.len()] = row(WalletKind::Margin);
    let row = if matches!(wallet, WalletKind::Exchange) { &SPOT } else { &OTHERS };
    let (name, len) = &row[kind as usize];
    (name, *len)
}

/// The venue's name of an order type in a wallet.
pub const fn order_type_name(kind: OrderKind, wallet: WalletKind) -> &'static str {
    match (wallet, kind) {
        (WalletKind::Exchange, OrderKind::Limit) => "EXCHANGE LIMIT",
        (WalletKind::Exchange, OrderKind::Market) => "EXCHANGE MARKET",
        (WalletKind::Exchange, OrderKind::Stop) => "EXCHANGE STOP",
        (WalletKind::Exchange, OrderKind::StopLimit) => "EXCHANGE STOP LIMIT",
        (WalletKind::Exchange, OrderKind::TrailingStop) => "EXCHANGE TRAILING STOP",
        (WalletKind::Exchange, OrderKind::Fok) => "EXCHANGE FOK",
        (WalletKind::Exchange, OrderKind::Ioc) => "EXCHANGE IOC",
        (_, OrderKind::Limit) => "LIMIT",
        (_, OrderKind::Market) => "MARKET",
        (_, OrderKind::Stop) => "STOP",
        (_, OrderKind::StopLimit) => "STOP LIMIT",
        (_, OrderKind::TrailingStop) => "TRAILING STOP",
        (_, OrderKind::Fok) => "FOK",
        (_, OrderKind::Ioc) => "IOC",
    }
}

/// Which wallet an order acts on: spot by its type, derivatives by the `F0` of its symbol's
/// currencies.
pub fn wallet_kind(is_exchange: bool, symbol: &[u8]) -> WalletKind {
    if is_exchange {
        WalletKind::Exchange
    } else if symbol.windows(3).any(|part| part == b"F0:") {
        WalletKind::Derivatives
    } else {
        WalletKind::Margin
    }
}

/// What a notification answers.
pub fn ack_of(notification: &[u8]) -> AckOf {
    match notification {
        b"on-req" => AckOf::New,
        b"ou-req" => AckOf::Update,
        b"oc-req" => AckOf::Cancel,
        b"oc_multi-req" => AckOf::CancelMulti,
        _ => AckOf::Other,
    }
}

/// Why the venue refused, from its text: in lower case, the first part found decides.
pub fn refusal(text: &[u8]) -> Refusal {
    const PARTS: [(&[u8], Refusal); 29] = [
        (b"minimum size", Refusal::MinimumSize),
        (b"cid: dup", Refusal::DuplicateCid),
        (b"duplicate", Refusal::DuplicateCid),
        (b"cid: invalid", Refusal::InvalidCid),
        (b"order not found", Refusal::NotFound),
        (b"id: invalid", Refusal::NotFound),
        (b"not found", Refusal::NotFound),
        (b"not enough", Refusal::Balance),
        (b"available balance", Refusal::Balance),
        (b"insufficient", Refusal::Balance),
        (b"nonce", Refusal::Nonce),
        (b"ratelimit", Refusal::RateLimit),
        (b"rate limit", Refusal::RateLimit),
        (b"rate_limit", Refusal::RateLimit),
        (b"maximum number of orders", Refusal::RateLimit),
        (b"too many", Refusal::RateLimit),
        (b"permission", Refusal::Permission),
        (b"apikey", Refusal::Permission),
        (b"api_key", Refusal::Permission),
        (b"not allowed", Refusal::Permission),
        (b"maintenance", Refusal::Maintenance),
        (b"unavailable", Refusal::Maintenance),
        (b"reduce", Refusal::ReduceOnly),
        (b"direction: invalid", Refusal::ReduceOnly),
        (b"amount: invalid", Refusal::InvalidAmount),
        (b"invalid amount", Refusal::InvalidAmount),
        (b"maximum size", Refusal::InvalidAmount),
        (b"price: invalid", Refusal::InvalidPrice),
        (b"invalid price", Refusal::InvalidPrice),
    ];
    let mut lower = [0u8; 160];
    let len = text.len().min(lower.len());
    for (place, byte) in lower.iter_mut().zip(text) {
        *place = byte.to_ascii_lowercase();
    }
    let lower = &lower[..len];
    PARTS
        .iter()
        .find(|(part, _)| lower.windows(part.len()).any(|window| window == *part))
        .map_or(Refusal::Other, |(_, refusal)| *refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_by_their_leading_words() {
        for (text, status) in [
            ("ACTIVE", OrderStatus::Active),
            (
                "PARTIALLY FILLED @ 578.81(-0.1), PARTIALLY FILLED @ 1(2)",
                OrderStatus::PartiallyFilled,
            ),
            ("EXECUTED @ 113940.0(-0.00008865)", OrderStatus::Executed),
            ("EXECUTED @ 1(1) was ACTIVE (note:POSCLOSE)", OrderStatus::Executed),
            ("CANCELED was: PARTIALLY FILLED @ 1(2)", OrderStatus::Canceled),
            ("FORCED EXECUTED @ 1(2)", OrderStatus::Forced),
            ("INSUFFICIENT MARGIN was: PARTIALLY FILLED @ 1(2)", OrderStatus::Insufficient),
            ("INSUFFICIENT BALANCE (U1) was: ACTIVE", OrderStatus::Insufficient),
            ("POSTONLY CANCELED", OrderStatus::PostOnlyCanceled),
            ("FILLORKILL CANCELED", OrderStatus::FillOrKillCanceled),
            ("IOC CANCELED", OrderStatus::IocCanceled),
            ("RSN_DUST was: ACTIVE (note: POSCLOSE)", OrderStatus::Refused),
            ("RSN_POS_REDUCE_FLIP", OrderStatus::Refused),
            ("SOMETHING NEW", OrderStatus::Other),
            ("", OrderStatus::Other),
        ] {
            assert_eq!(order_status(text.as_bytes()), status, "{text}");
        }
    }

    #[test]
    fn type_names_go_both_ways() {
        use OrderKind::*;
        for kind in [Limit, Market, Stop, StopLimit, TrailingStop, Fok, Ioc] {
            for (wallet, is_exchange) in [(WalletKind::Exchange, true), (WalletKind::Margin, false)]
            {
                let name = order_type_name(kind, wallet);
                let (padded, len) = order_type_padded(kind, wallet);
                assert_eq!(&padded[..len], name.as_bytes());
                assert_eq!(order_kind(name.as_bytes()), Some((kind, is_exchange)));
            }
        }
        assert_eq!(order_kind(b"EXCHANGE DANCE"), None);
        assert_eq!(wallet_kind(false, b"tBTCF0:USTF0"), WalletKind::Derivatives);
        assert_eq!(wallet_kind(false, b"tBTCUSD"), WalletKind::Margin);
    }

    #[test]
    fn refusals_are_told_by_the_texts_seen() {
        for (text, expected) in [
            ("Invalid price.", Refusal::InvalidPrice),
            ("price: invalid", Refusal::InvalidPrice),
            ("amount: invalid", Refusal::InvalidAmount),
            ("cid: invalid", Refusal::InvalidCid),
            ("direction: invalid", Refusal::ReduceOnly),
            ("Invalid order: minimum size for BTC/USD is 0.002", Refusal::MinimumSize),
            ("Order not found.", Refusal::NotFound),
            ("id: invalid", Refusal::NotFound),
            (
                "Invalid order: not enough exchange balance for -60.9 IOTETH at 0.00269",
                Refusal::Balance,
            ),
            ("Invalid order: not enough tradable balance for 1 BTC", Refusal::Balance),
            ("available balance is only 0.1", Refusal::Balance),
            ("api_key: permission invalid", Refusal::Permission),
            ("nonce: small", Refusal::Nonce),
            ("ratelimit: error", Refusal::RateLimit),
            ("something else", Refusal::Other),
        ] {
            assert_eq!(refusal(text.as_bytes()), expected, "{text}");
        }
    }
}
