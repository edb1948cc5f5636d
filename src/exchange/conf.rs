//! `conf/…`: what is listed, and the maps from the venue's names to everybody else's.

use super::config::SymbolSpec;
use super::core::{Core, Listing};
use super::json::push_text;
use super::number::{push_number, push_plain};
use super::tape::push_list;

/// What is told of a currency: code, symbol, name, network, and fee of a withdrawal (1e-8). Of
/// others only the code is known here.
const CURRENCIES: [(&str, &str, &str, &str, i64); 24] = [
    ("BTC", "BTC", "Bitcoin", "BITCOIN", 40_000),
    ("ETH", "ETH", "Ethereum", "ETHEREUM", 300_000),
    ("UST", "USDt", "Tether USDt", "TETHERUSE", 500_000_000),
    ("USD", "USD", "US Dollar", "WIRE", 0),
    ("EUR", "EUR", "Euro", "WIRE", 0),
    ("GBP", "GBP", "Pound Sterling", "WIRE", 0),
    ("JPY", "JPY", "Japanese Yen", "WIRE", 0),
    ("LTC", "LTC", "Litecoin", "LITECOIN", 100_000),
    ("XRP", "XRP", "XRP", "RIPPLE", 10_000_000),
    ("ADA", "ADA", "Cardano ADA", "ADA", 30_000_000),
    ("DOT", "DOT", "Polkadot", "DOT", 10_000_000),
    ("SOL", "SOL", "Solana", "SOL", 1_000_000),
    ("DSH", "DASH", "Dash", "DASH", 1_000_000),
    ("IOT", "IOTA", "IOTA", "IOTA", 50_000_000),
    ("ATO", "ATOM", "Cosmos-Atom", "ATO", 1_000_000),
    ("ALG", "ALGO", "Algorand", "ALGO", 1_000_000),
    ("QTM", "QTUM", "QTUM", "QTUM", 1_000_000),
    ("UDC", "USDC", "USDc", "UDC", 500_000_000),
    ("TESTBTC", "TESTBTC", "Bitcoin (paper)", "TEST", 0),
    ("TESTUSD", "TESTUSD", "US Dollar (paper)", "TEST", 0),
    ("TESTUSDT", "TESTUSDT", "Tether (paper)", "TEST", 0),
    ("TESTUSDTF0", "TESTUSDT-PERP", "Tether (paper, derivatives)", "TEST", 0),
    ("USTF0", "USDt", "USDt (derivatives)", "TETHERUSE", 0),
    ("BTCF0", "BTC-PERP", "Bitcoin perpetual", "BITCOIN", 0),
];

fn push_margin(out: &mut Vec<u8>, margin_e4: i64) {
    match margin_e4 {
        0 => out.extend_from_slice(b"null"),
        margin => push_number(out, margin * 10_000),
    }
}

fn push_info(out: &mut Vec<u8>, listing: &Listing) {
    let SymbolSpec { qty_min, qty_max, margin_initial_e4, .. } = listing.spec;
    out.push(b'[');
    push_text(out, listing.pair());
    out.extend_from_slice(b",[null,null,null,\"");
    push_plain(out, qty_min);
    out.extend_from_slice(b"\",\"");
    push_plain(out, qty_max);
    out.extend_from_slice(b"\",null,null,null,");
    push_margin(out, margin_initial_e4);
    out.push(b',');
    push_margin(out, margin_initial_e4 / 2);
    // Rows of derivatives are two elements shorter.
    out.extend_from_slice(if listing.is_derivative() { b"]]" } else { b",null,null]]" });
}

/// The currency that is paid in by a method, in any case: `bitcoin` → BTC.
pub(super) fn currency_of_method(method: &str) -> Option<&'static str> {
    let row = CURRENCIES.iter().find(|row| row.3.eq_ignore_ascii_case(method))?;
    Some(row.0)
}

impl Core {
    /// One element per requested key; unknown keys give an empty list.
    pub(super) fn push_conf(&self, keys: &str, out: &mut Vec<u8>) {
        push_list(out, keys.split(','), |out, key| self.push_conf_key(key, out));
    }
    fn push_conf_key(&self, key: &str, out: &mut Vec<u8>) {
        let is_wanted = |listing: &&Listing| match key {
            "pub:list:pair:exchange" | "pub:info:pair" => !listing.is_derivative(),
            "pub:list:pair:margin" => {
                listing.spec.margin_initial_e4 > 0 && !listing.is_derivative()
            }
            "pub:list:pair:futures" | "pub:info:pair:futures" => listing.is_derivative(),
            _ => false,
        };
        let listed = self.listings.iter().filter(is_wanted);
        match key {
            "pub:info:pair" | "pub:info:pair:futures" => push_list(out, listed, push_info),
            "pub:list:currency" => {
                push_list(out, self.currencies().into_iter(), super::json::push_text);
            }
            "pub:list:currency:margin" => {
                let on_margin = |name: &&str| {
                    self.listings.iter().any(|listing| {
                        let names = [listing.base.as_str(), listing.quote.as_str()];
                        listing.spec.margin_initial_e4 > 0 && names.contains(name)
                    })
                };
                let names = self.currencies().into_iter().filter(on_margin);
                push_list(out, names, super::json::push_text);
            }
            "pub:spec:margin" => self.push_margin_spec(out),
            "pub:fees" => out.extend_from_slice(
                b"{\"deriv_perp\":{\"correction_clamp_min\":0.0025,\"correction_clamp_insurance\":0.0015,\"correction_slope\":0.2}}",
            ),
            _ if key.starts_with("pub:map:") || key == "pub:info:tx:status" => {
                self.push_map(key, out);
            }
            _ => push_list(out, listed, |out, listing| push_text(out, listing.pair())),
        }
    }
    /// Currencies of the pairs listed, by name.
    fn currencies(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .listings
            .iter()
            .flat_map(|listing| [listing.base.as_str(), listing.quote.as_str()])
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
    fn push_map(&self, key: &str, out: &mut Vec<u8>) {
        let names = self.currencies();
        let known: Vec<_> = CURRENCIES.iter().filter(|row| names.contains(&row.0)).collect();
        let pair = |out: &mut Vec<u8>, from: &str, to: &str| {
            out.push(b'[');
            push_text(out, from);
            out.push(b',');
            push_text(out, to);
            out.push(b']');
        };
        match key {
            "pub:map:currency:sym" => {
                let differ = known.into_iter().filter(|row| row.0 != row.1);
                push_list(out, differ, |out, row| pair(out, row.0, row.1));
            }
            "pub:map:currency:label" => {
                push_list(out, known.into_iter(), |out, row| pair(out, row.0, row.2));
            }
            "pub:map:currency:unit" => {
                let iota = known.into_iter().filter(|row| row.0 == "IOT");
                push_list(out, iota, |out, row| pair(out, row.0, "Mi|MegaIOTA"));
            }
            "pub:map:currency:undl" => {
                let perpetual =
                    names.into_iter().filter_map(|name| Some((name, name.strip_suffix("F0")?)));
                push_list(out, perpetual, |out, (name, underlying)| pair(out, name, underlying));
            }
            "pub:map:currency:pool" => {
                let pooled = known.into_iter().filter(|row| matches!(row.0, "UST" | "UDC"));
                push_list(out, pooled, |out, row| pair(out, row.0, "ETH"));
            }
            "pub:map:currency:explorer" => push_list(out, known.into_iter(), |out, row| {
                out.push(b'[');
                push_text(out, row.0);
                // Nothing here is on any chain: the links lead back to this exchange.
                out.extend_from_slice(b",[\"/\",\"/address/VAL\",\"/tx/VAL\"]]");
            }),
            "pub:map:currency:tx:fee" => push_list(out, known.into_iter(), |out, row| {
                out.push(b'[');
                push_text(out, row.0);
                out.extend_from_slice(b",[0,");
                push_number(out, row.4);
                out.extend_from_slice(b"]]");
            }),
            "pub:map:tx:method" => push_list(out, known.into_iter(), |out, row| {
                out.push(b'[');
                push_text(out, row.3);
                out.extend_from_slice(b",[");
                push_text(out, row.0);
                out.extend_from_slice(b"]]");
            }),
            "pub:info:tx:status" => push_list(out, known.into_iter(), |out, row| {
                out.push(b'[');
                push_text(out, row.3);
                out.extend_from_slice(b",1,1,null,null,null,null,0,0,null,null,1]");
            }),
            _ => out.extend_from_slice(b"[]"),
        }
    }
    fn push_margin_spec(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"conf\":{\"base_size_thres\":0,\"base_size_incr\":1,\"base_step\":0,\"base_haircut\":1}");
        for (name, part) in [("initial", 1), ("minimum", 2)] {
            out.push(b',');
            push_text(out, name);
            out.extend_from_slice(b":{\"base\":");
            push_number(out, 30_000_000 / part);
            out.extend_from_slice(b",\"base_cap\":1");
            for listing in self.listings.iter().filter(|l| !l.is_derivative()) {
                if listing.spec.margin_initial_e4 > 0 {
                    out.push(b',');
                    push_text(out, listing.pair());
                    out.push(b':');
                    push_margin(out, listing.spec.margin_initial_e4 / part);
                }
            }
            out.push(b'}');
        }
        out.push(b'}');
    }
}
