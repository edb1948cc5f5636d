//! The same ledger with REST reads between the messages. Method: the messages of two orders come in
//! any order and some twice, as in the parent; between them the venue is read by REST, and answers
//! with its truth at a moment that is not before anything that was delivered or read: what is open,
//! what has ended, what has traded. A read tells early what a message brings late, and must change
//! nothing of how it ends.

use super::*;

/// What the venue would answer to a read after so many of its messages about an order, which looked
/// like `first` before anything happened to it.
fn truth(all: &[Message], until: usize, first: Message) -> [Vec<Message>; 3] {
    let said = &all[..until];
    let is_known = said.iter().any(|message| match message {
        M::Order(_) | M::Fill(_) => true,
        M::Ack(ack) => ack.success,
        _ => false,
    });
    let trades = all.iter().filter(|message| {
        let M::Fill(fill) = message else { return false };
        let has_traded =
            |one: &&Message| matches!(one, M::Fill(other) if other.trade == fill.trade);
        fill.fee.is_some() && said.iter().any(|one| has_traded(&one))
    });
    let trades: Vec<Message> = trades.copied().collect();
    let array = |list: &[Message]| -> Option<OrderUpdate> {
        list.iter().rev().find_map(|message| match message {
            M::Order(update) => Some(*update),
            _ => None,
        })
    };
    let is_end = |update: &OrderUpdate| update.source == Source::Closed;
    let newest = array(said);
    let (mut open, mut history) = (Vec::new(), Vec::new());
    let traded = trades.iter().fold(Qty::ZERO, |sum, message| match message {
        M::Fill(fill) => sum.saturating_add(fill.qty.abs()),
        _ => sum,
    });
    let last = array(all);
    let is_over = last.filter(is_end).filter(|end| {
        // All has traded: the venue knows the end, though it has not said so yet.
        said.len() == all.len() || traded >= end.original.abs()
    });
    if let Some(end) = newest.filter(is_end).or(is_over) {
        history.push(M::Order(OrderUpdate { source: Source::RestHistory, ..end }));
    } else if let Some(update) = newest {
        open.push(M::Order(OrderUpdate { source: Source::RestOpen, ..update }));
    } else if is_known {
        // Acknowledged, and no array of it yet.
        open.push(first);
    }
    [open, history, trades]
}
/// One step of a delivery: how it is mixed, whether it comes twice, and what is read before it.
#[derive(Clone, Copy, Debug)]
struct Mix {
    key: u32,
    twice: bool,
    /// A read before it, that far into what the venue has not delivered yet.
    read: Option<u8>,
}
fn mixes() -> impl Strategy<Value = Vec<Mix>> {
    let read = prop_oneof![5 => Just(None), 2 => any::<u8>().prop_map(Some)];
    let one = (any::<u32>(), any::<bool>(), read);
    prop::collection::vec(one.prop_map(|(key, twice, read)| Mix { key, twice, read }), 64)
}

fn same_ledger_with_reads(a: &Script, b: &Script, mixes: &[Mix]) -> Result<(), TestCaseError> {
    let mut reads = 0;
    let mut run = |is_mixed: bool| {
        let mut bench = Bench::new();
        let (first, one) = play(&mut bench, 1, a);
        let (second, other) = play(&mut bench, -2, b);
        let [before_one, before_other] = [first, second].map(|slot| {
            let mut venue = Venue { at: -1, ..Venue::of(&bench, slot) };
            venue.array(Source::RestOpen, OrderStatus::Active)
        });
        let mut queue: Vec<(u32, usize, usize, Message)> = Vec::new();
        for (whose, list) in [&one, &other].into_iter().enumerate() {
            for (index, message) in list.iter().enumerate() {
                let mix = mixes[(queue.len()) % mixes.len()];
                queue.push((mix.key, whose, index, *message));
                if is_mixed && mix.twice {
                    queue.push((mix.key.rotate_left(16), whose, index, *message));
                }
            }
        }
        if is_mixed {
            queue.sort_by_key(|(key, whose, index, _)| (*key, *whose, *index));
        }
        // The venue is never behind what it has told.
        let mut told = [0usize; 2];
        for (place, (_, whose, index, message)) in queue.iter().enumerate() {
            if let Some(ahead) = mixes[place % mixes.len()].read.filter(|_| is_mixed) {
                let [mut open, mut history, mut trades] = [const { Vec::new() }; 3];
                let both = [(&one, before_one), (&other, before_other)];
                for ((list, before), told) in both.into_iter().zip(&mut told) {
                    // Nor behind what an earlier read has shown.
                    *told += usize::from(ahead) % (list.len() - *told + 1);
                    let [o, h, t] = truth(list, *told, before);
                    open.extend(o);
                    history.extend(h);
                    trades.extend(t);
                }
                bench.round(&open, &history, &trades);
                bench.check_sums();
                reads += 1;
            }
            bench.feed(*message);
            bench.check_sums();
            told[*whose] = told[*whose].max(index + 1);
        }
        (outcome(&bench, &[first, second]), bench.ledger.frozen())
    };
    let ((plain, frozen), (mixed, frozen_mixed)) = (run(false), run(true));
    prop_assert_eq!((frozen, frozen_mixed), (0, 0));
    prop_assert_eq!(plain.orders, mixed.orders);
    prop_assert_eq!(plain.position, mixed.position);
    prop_assert_eq!(plain.fees, mixed.fees);
    prop_assert_eq!(plain.sums, mixed.sums);
    prop_assert_eq!((plain.fills, plain.acked), (mixed.fills, mixed.acked));
    Ok(())
}

#[test]
#[ignore = "a million cases: minutes without optimisation"]
fn reads_between_messages_change_nothing_a_million_times() {
    let config =
        ProptestConfig { cases: 1_000_000, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let ended = runner.run(&(script(), script(), mixes()), |(a, b, mixes)| {
        same_ledger_with_reads(&a, &b, &mixes)
    });
    assert!(ended.is_ok(), "{ended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Any order of n/on/ou/te/tu/oc, with duplicates, and REST reads between them.
    #[test]
    fn reads_between_messages_change_nothing(a in script(), b in script(), mixes in mixes()) {
        same_ledger_with_reads(&a, &b, &mixes)?;
    }
}
