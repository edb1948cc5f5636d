//! What changed wallets, and why: the venue's ledger, one row a change.

use super::account::Wallet;
use super::json::push_text;
use super::number::{push_i64, push_number, push_plain, push_u64};
use super::wire::push_wide;
use crate::model::Currency;
use serde::{Deserialize, Serialize};

/// Rows kept per account.
pub const LEDGER_MAX: usize = 10_000;

/// Why a wallet changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A spot trade moved both currencies.
    Exchange,
    Fee,
    /// A fee below zero.
    Rebate,
    /// A position was made smaller or ended: profit or loss.
    Settlement,
    /// Collateral went to a derivative position or came back.
    Collateral,
    /// The insurance fund paid what collateral did not cover.
    Insurance,
    /// Between two wallets of the account.
    Transfer,
}

impl Cause {
    /// The venue's category, as its filter names it.
    pub const fn category(self) -> i64 {
        match self {
            Cause::Exchange => 5,
            Cause::Settlement => 22,
            Cause::Collateral => 25,
            Cause::Transfer => 51,
            Cause::Fee => 201,
            Cause::Rebate => 202,
            Cause::Insurance => 401,
        }
    }
}

/// The event behind a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub mts: i64,
    /// Index of the symbol traded; meaningless for transfers.
    pub symbol: u16,
    pub px: i64,
    /// 1e-8, positive.
    pub qty: i64,
    /// Fee rate, 1e-6.
    pub fee_e6: i64,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: u64,
    pub wallet: Wallet,
    pub currency: Currency,
    /// 1e-8, signed.
    pub amount: i128,
    /// 1e-8, after the change.
    pub balance: i128,
    pub cause: Cause,
    pub note: Note,
}

/// Names of a symbol, for the descriptions.
#[derive(Clone, Copy, Debug)]
pub struct PairNames<'a> {
    pub pair: &'a str,
    pub base: &'a str,
    pub quote: &'a str,
}

impl Entry {
    fn describe(&self, names: PairNames<'_>) -> String {
        let mut text = Vec::new();
        let number = |text: &mut Vec<u8>, raw: i64| push_number(text, raw);
        let Note { px, qty, fee_e6, .. } = self.note;
        match self.cause {
            Cause::Exchange => {
                text.extend_from_slice(b"Exchange ");
                number(&mut text, qty);
                text.extend_from_slice(
                    format!(" {} for {} @ ", names.base, names.quote).as_bytes(),
                );
                number(&mut text, px);
            }
            Cause::Fee | Cause::Rebate => {
                text.extend_from_slice(match self.cause {
                    Cause::Fee => b"Trading fees for ",
                    _ => b"Trading rebate for ",
                });
                number(&mut text, qty);
                text.extend_from_slice(format!(" {} ({}) @ ", names.base, names.pair).as_bytes());
                number(&mut text, px);
                text.extend_from_slice(b" on BFX (");
                number(&mut text, fee_e6.saturating_mul(10_000));
                text.extend_from_slice(b"%)");
            }
            Cause::Settlement => {
                text.extend_from_slice(b"Settlement @ ");
                number(&mut text, px);
            }
            Cause::Collateral => {
                text.extend_from_slice(b"Position collateral (");
                text.extend_from_slice(names.pair.as_bytes());
                text.push(b')');
            }
            Cause::Insurance => text.extend_from_slice(b"Insurance fund payment"),
            Cause::Transfer => {
                text.extend_from_slice(b"Transfer of ");
                push_plain(&mut text, qty);
                text.extend_from_slice(format!(" {}", self.currency).as_bytes());
            }
        }
        text.extend_from_slice(format!(" on wallet {}", self.wallet.name()).as_bytes());
        String::from_utf8_lossy(&text).into_owned()
    }
    /// Writes `[ID,CCY,WALLET,MTS,_,AMOUNT,BALANCE,_,DESCRIPTION]`.
    pub fn push_array(&self, out: &mut Vec<u8>, names: PairNames<'_>) {
        out.push(b'[');
        push_u64(out, self.id);
        out.push(b',');
        push_text(out, self.currency.as_str());
        out.push(b',');
        push_text(out, self.wallet.name());
        out.push(b',');
        push_i64(out, self.note.mts);
        out.extend_from_slice(b",null,");
        push_wide(out, self.amount);
        out.push(b',');
        push_wide(out, self.balance);
        out.extend_from_slice(b",null,");
        push_text(out, &self.describe(names));
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_the_venue_says() {
        let note = Note { mts: 7, symbol: 0, px: 780_460_000_000, qty: 1_000_000, fee_e6: 2_000 };
        let entry = |cause, currency: &str| Entry {
            id: 3,
            wallet: Wallet::Exchange,
            currency: Currency::new(currency).unwrap(),
            amount: -1,
            balance: 5,
            cause,
            note,
        };
        let names = PairNames { pair: "BTCUSD", base: "BTC", quote: "USD" };
        let mut out = Vec::new();
        entry(Cause::Exchange, "BTC").push_array(&mut out, names);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[3,\"BTC\",\"exchange\",7,null,-1e-8,5e-8,null,\
             \"Exchange 0.01 BTC for USD @ 7804.6 on wallet exchange\"]"
        );
        assert_eq!(
            entry(Cause::Fee, "BTC").describe(names),
            "Trading fees for 0.01 BTC (BTCUSD) @ 7804.6 on BFX (0.2%) on wallet exchange"
        );
        assert_eq!(
            entry(Cause::Settlement, "USD").describe(names),
            "Settlement @ 7804.6 on wallet exchange"
        );
        assert_eq!(
            entry(Cause::Transfer, "USD").describe(names),
            "Transfer of 0.01 USD on wallet exchange"
        );
    }
}
