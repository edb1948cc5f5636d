//! Names as people write them.

use crate::base::bounded::Text;
use crate::model::Currency;

/// Base and quote around `/`, `-`, `_` or `:`, else three and three letters. `BTC-PERP/USDT` has
/// its separator where the slash is.
pub(super) fn parts_of(text: &str) -> Option<(&str, &str)> {
    let split = ["/", ":", "_"].iter().find_map(|separator| text.split_once(*separator));
    let split = split.or_else(|| text.rsplit_once('-'));
    match split {
        Some((base, quote)) if !base.is_empty() && !quote.is_empty() => Some((base, quote)),
        Some(_) => None,
        None if text.len() == 6 && text.is_ascii() => Some(text.split_at(3)),
        None => None,
    }
}

/// Our name of a pair: the world's symbols in capitals, perpetuals spelled out.
pub(super) fn canonical(
    base: &str,
    quote: &str,
    symbol_of: impl Fn(&str) -> Option<Currency>,
) -> Option<Text<32>> {
    let known = |code: &str| match symbol_of(code) {
        Some(symbol) => symbol.as_str().to_ascii_uppercase(),
        None => code.to_ascii_uppercase(),
    };
    let name = match (base.strip_suffix("F0"), quote.strip_suffix("F0")) {
        (Some(base), Some(quote)) => format!("{}-PERP/{}", known(base), known(quote)),
        _ => format!("{}/{}", known(base), known(quote)),
    };
    Text::new(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_apart_where_people_separate_them() {
        for (text, expected) in [
            ("BTCUSD", Some(("BTC", "USD"))),
            ("BTC/USD", Some(("BTC", "USD"))),
            ("BTC-USD", Some(("BTC", "USD"))),
            ("BTC_USD", Some(("BTC", "USD"))),
            ("DUSK:USD", Some(("DUSK", "USD"))),
            ("BTC-PERP/USDT", Some(("BTC-PERP", "USDT"))),
            ("BTC/", None),
            ("-", None),
            ("BTCUSDT", None),
            ("", None),
            ("äöü", None),
        ] {
            assert_eq!(parts_of(text), expected, "{text}");
        }
    }

    #[test]
    fn house_codes_are_spelled_out() {
        let symbols = |code: &str| {
            let found = [("UST", "USDt"), ("DSH", "DASH"), ("LUNA", "LUNC"), ("LUNA2", "LUNA")];
            let found = found.iter().find(|(from, _)| *from == code)?;
            Currency::new(found.1)
        };
        for (base, quote, expected) in [
            ("BTC", "USD", "BTC/USD"),
            ("DSH", "UST", "DASH/USDT"),
            ("BTCF0", "USTF0", "BTC-PERP/USDT"),
            ("LUNA2", "USD", "LUNA/USD"),
            ("TESTBTCF0", "TESTUSDTF0", "TESTBTC-PERP/TESTUSDT"),
        ] {
            assert_eq!(canonical(base, quote, symbols).unwrap().as_str(), expected);
        }
    }
}
