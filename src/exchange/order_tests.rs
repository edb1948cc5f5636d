//! What becomes of every order type and flag, as the account is told it. A transcript is what our
//! exchange says; what is known of the venue's own words is in the protocol notes, 3.5 to 3.7.

use super::script_tests::*;

#[test]
fn a_limit_order_rests_and_is_filled_in_parts() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 2
        > a on EXCHANGE LIMIT 1 @100 cid=7
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @100 ACTIVE
        > market sell 0.4
          a: ou #1 EXCHANGE LIMIT 0.6 of 1 @100 PARTIALLY FILLED @ 100.0(0.4)
          a: te #1 0.4@100 maker
          a: tu #1 0.4@100 maker fee -0.0004 BTC
          a: wu exchange BTC 10.3996
          a: wu exchange USD 960
        > market sell 3
          a: te #1 0.6@100 maker
          a: oc #1 EXCHANGE LIMIT 0 of 1 @100 EXECUTED @ 100.0(0.6): was PARTIALLY FILLED @
            + 100.0(0.4)
          a: tu #1 0.6@100 maker fee -0.0006 BTC
          a: wu exchange BTC 10.999
          a: wu exchange USD 900
        > a state
          a: exchange BTC 10.999, exchange USD 900
        > book
          bids 99x2.6 | asks 101x2
        "##,
    );
}

#[test]
fn a_limit_order_that_crosses_fills_at_the_makers_prices() {
    check(
        r##"
        > market ask 101 2
        > market ask 102 2
        > a on EXCHANGE LIMIT 5 @102
          a: n on-req SUCCESS Submitting exchange limit buy order for 5 BTC.
          a: on #1 EXCHANGE LIMIT 5 @102 ACTIVE
          a: ou #1 EXCHANGE LIMIT 1 of 5 @102 PARTIALLY FILLED @ 101.0(2.0), PARTIALLY FILLED @
            + 102.0(2.0)
          a: te #1 2@101 taker
          a: te #1 2@102 taker
          a: tu #1 2@101 taker fee -0.004 BTC
          a: tu #1 2@102 taker fee -0.004 BTC
          a: wu exchange BTC 13.992
          a: wu exchange USD 594
        > book
          bids 102x1 | asks
        > a oc #1
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 EXCHANGE LIMIT 1 of 5 @102 CANCELED was: PARTIALLY FILLED @ 101.0(2.0),
            + PARTIALLY FILLED @ 102.0(2.0)
        > a state
          a: exchange BTC 13.992, exchange USD 594
        "##,
    );
}

#[test]
fn a_market_order_takes_what_there_is_and_slips_over_the_end_of_the_book() {
    check(
        r##"
        > market ask 101 2
        > a on EXCHANGE MARKET 1
          a: n on-req SUCCESS Submitting exchange market buy order for 1 BTC.
          a: oc #1 EXCHANGE MARKET 0 of 1 @101 EXECUTED @ 101.0(1.0)
          a: te #1 1@101 taker
          a: tu #1 1@101 taker fee -0.002 BTC
          a: wu exchange BTC 10.998
          a: wu exchange USD 899
        > a on EXCHANGE MARKET -1
          a: n on-req SUCCESS Submitting exchange market sell order for -1 BTC.
          a: oc #2 EXCHANGE MARKET -1 @0 RSN_BOOK_SLIP
        > a on MARKET 3
          a: n on-req SUCCESS Submitting market buy order for 3 BTC.
          a: pn tBTCUSD 1 @ 101
          a: oc #3 MARKET 2 of 3 @101 RSN_BOOK_SLIP was: PARTIALLY FILLED @ 101.0(1.0)
          a: te #3 1@101 taker
          a: tu #3 1@101 taker fee -0.202 USD
          a: wu margin USD 999.798
        > a state
          a: exchange BTC 10.998, exchange USD 899, margin USD 999.798, position tBTCUSD 1 @ 101
        "##,
    );
}

#[test]
fn a_spot_market_buy_is_filled_as_far_as_the_money_goes() {
    check(
        r##"
        > market ask 400 2
        > market ask 500 2
        > a on EXCHANGE MARKET 4
          a: n on-req SUCCESS Submitting exchange market buy order for 4 BTC.
          a: oc #1 EXCHANGE MARKET 1.6 of 4 @500 INSUFFICIENT BALANCE (G1) was: PARTIALLY FILLED
            + @ 400.0(2.0), PARTIALLY FILLED @ 500.0(0.4)
          a: te #1 2@400 taker
          a: te #1 0.4@500 taker
          a: tu #1 2@400 taker fee -0.004 BTC
          a: tu #1 0.4@500 taker fee -0.0008 BTC
          a: wu exchange BTC 12.3952
          a: wu exchange USD 0
        > a state
          a: exchange BTC 12.3952, exchange USD 0
        "##,
    );
}

#[test]
fn fill_or_kill_is_all_or_nothing() {
    check(
        r##"
        > market ask 101 2
        > market ask 102 2
        > a on EXCHANGE FOK 4.1 @102
          a: n on-req SUCCESS Submitting exchange fok buy order for 4.1 BTC.
          a: oc #1 EXCHANGE FOK 4.1 @102 FILLORKILL CANCELED
        > a on EXCHANGE FOK 3 @101
          a: n on-req SUCCESS Submitting exchange fok buy order for 3 BTC.
          a: oc #2 EXCHANGE FOK 3 @101 FILLORKILL CANCELED
        > a on EXCHANGE FOK 4 @102
          a: n on-req SUCCESS Submitting exchange fok buy order for 4 BTC.
          a: te #3 2@101 taker
          a: te #3 2@102 taker
          a: oc #3 EXCHANGE FOK 0 of 4 @102 EXECUTED @ 102.0(2.0): was PARTIALLY FILLED @
            + 101.0(2.0)
          a: tu #3 2@101 taker fee -0.004 BTC
          a: tu #3 2@102 taker fee -0.004 BTC
          a: wu exchange BTC 13.992
          a: wu exchange USD 594
        > book
          bids  | asks
        "##,
    );
}

#[test]
fn immediate_or_cancel_keeps_what_it_got() {
    check(
        r##"
        > market ask 101 2
        > market ask 102 2
        > a on EXCHANGE IOC 3 @101
          a: n on-req SUCCESS Submitting exchange ioc buy order for 3 BTC.
          a: te #1 2@101 taker
          a: oc #1 EXCHANGE IOC 1 of 3 @101 IOC CANCELED was: PARTIALLY FILLED @ 101.0(2.0)
          a: tu #1 2@101 taker fee -0.004 BTC
          a: wu exchange BTC 11.996
          a: wu exchange USD 798
        > a on EXCHANGE IOC 1 @100
          a: n on-req SUCCESS Submitting exchange ioc buy order for 1 BTC.
          a: oc #2 EXCHANGE IOC 1 @100 IOC CANCELED
        > a on EXCHANGE IOC 1 @102
          a: n on-req SUCCESS Submitting exchange ioc buy order for 1 BTC.
          a: te #3 1@102 taker
          a: oc #3 EXCHANGE IOC 0 of 1 @102 EXECUTED @ 102.0(1.0)
          a: tu #3 1@102 taker fee -0.002 BTC
          a: wu exchange BTC 12.994
          a: wu exchange USD 696
        > book
          bids  | asks 102x1
        "##,
    );
}

#[test]
fn a_stop_waits_becomes_a_market_order_and_is_filled() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > market buy 1
        > a on EXCHANGE STOP -1 @98
          a: n on-req SUCCESS Submitting exchange stop sell order for -1 BTC.
          a: on #1 EXCHANGE STOP -1 @98 ACTIVE
        > market bid 97 5
        > market sell 4
        > market sell 2
          a: ou #1 EXCHANGE MARKET -1 @98 prev=EXCHANGE STOP ACTIVE
          a: oc #1 EXCHANGE MARKET 0 of -1 @97 prev=EXCHANGE STOP EXECUTED @ 97.0(-1.0)
          a: te #1 -1@97 taker
          a: tu #1 -1@97 taker fee -0.194 USD
          a: wu exchange BTC 9
          a: wu exchange USD 1096.806
        > a state
          a: exchange BTC 9, exchange USD 1096.806
        "##,
    );
}

#[test]
fn a_stop_beyond_the_price_fires_at_once() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > market buy 1
        > a on STOP 1 @100
          a: n on-req SUCCESS Submitting stop buy order for 1 BTC.
          a: on #1 STOP 1 @100 ACTIVE
          a: ou #1 MARKET 1 @100 prev=STOP ACTIVE
          a: pn tBTCUSD 1 @ 101
          a: oc #1 MARKET 0 of 1 @101 prev=STOP EXECUTED @ 101.0(1.0)
          a: te #1 1@101 taker
          a: tu #1 1@101 taker fee -0.202 USD
          a: wu margin USD 999.798
        > a state
          a: margin USD 999.798, position tBTCUSD 1 @ 101
        "##,
    );
}

#[test]
fn a_stop_limit_becomes_a_limit_order() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 2
        > market ask 103 5
        > a on EXCHANGE STOP LIMIT 3 @101 price_aux_limit="102"
          a: n on-req SUCCESS Submitting exchange stop limit buy order for 3 BTC.
          a: on #1 EXCHANGE STOP LIMIT 3 @101 aux=102 ACTIVE
        > market buy 1
          a: ou #1 EXCHANGE LIMIT 3 @102 prev=EXCHANGE STOP LIMIT aux=102 ACTIVE
          a: ou #1 EXCHANGE LIMIT 2 of 3 @102 prev=EXCHANGE STOP LIMIT aux=102 PARTIALLY FILLED
            + @ 101.0(1.0)
          a: te #1 1@101 taker
          a: tu #1 1@101 taker fee -0.002 BTC
          a: wu exchange BTC 10.998
          a: wu exchange USD 899
        > book
          bids 102x2 99x5 | asks 103x5
        > a oc #1
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 EXCHANGE LIMIT 2 of 3 @102 prev=EXCHANGE STOP LIMIT aux=102 CANCELED was:
            + PARTIALLY FILLED @ 101.0(1.0)
        "##,
    );
}

#[test]
fn a_trailing_stop_follows_the_price_up_and_sells_when_it_turns() {
    check(
        r##"
        > market bid 90 50
        > market ask 100 1
        > market ask 104 1
        > market buy 1
        > a on EXCHANGE TRAILING STOP -1 price_trailing="3"
          a: n on-req SUCCESS Submitting exchange trailing stop sell order for -1 BTC.
          a: on #1 EXCHANGE TRAILING STOP -1 @97 trailing=3 ACTIVE
        > market buy 1
        > market bid 102 1
        > market sell 1
        > market bid 101 1
        > market sell 1
          a: ou #1 EXCHANGE MARKET -1 @101 prev=EXCHANGE TRAILING STOP trailing=3 ACTIVE
          a: oc #1 EXCHANGE MARKET 0 of -1 @90 prev=EXCHANGE TRAILING STOP trailing=3 EXECUTED @
            + 90.0(-1.0)
          a: te #1 -1@90 taker
          a: tu #1 -1@90 taker fee -0.18 USD
          a: wu exchange BTC 9
          a: wu exchange USD 1089.82
        > a state
          a: exchange BTC 9, exchange USD 1089.82
        "##,
    );
}

#[test]
fn a_trailing_stop_may_name_its_distance_as_price() {
    check(
        r##"
        > market bid 99 5
        > market ask 100 5
        > market buy 1
        > a on TRAILING STOP 1 @2
          a: n on-req SUCCESS Submitting trailing stop buy order for 1 BTC.
          a: on #1 TRAILING STOP 1 @102 trailing=2 ACTIVE
        > a oc #1
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 TRAILING STOP 1 @102 trailing=2 CANCELED
        > a on EXCHANGE TRAILING STOP 1
          a: n on-req ERROR price_trailing: invalid
        "##,
    );
}

#[test]
fn a_hidden_order_is_not_shown_trades_and_pays_as_a_taker() {
    check(
        r##"
        > market bid 99 5
        > market ask 105 5
        > a on EXCHANGE LIMIT -2 @101 flags=64
          a: n on-req SUCCESS Submitting exchange limit sell order for -2 BTC.
          a: on #1 EXCHANGE LIMIT -2 @101 flags=64 hidden=1 ACTIVE
        > book
          bids 99x5 | asks 105x5
        > b on EXCHANGE LIMIT 1 @101
          b: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: ou #1 EXCHANGE LIMIT -1 of -2 @101 flags=64 hidden=1 PARTIALLY FILLED @ 101.0(-1.0)
          a: te #1 -1@101 maker
          a: tu #1 -1@101 maker fee -0.202 USD
          a: wu exchange BTC 9
          a: wu exchange USD 1100.798
          b: te #2 1@101 taker
          b: oc #2 EXCHANGE LIMIT 0 of 1 @101 EXECUTED @ 101.0(1.0)
          b: tu #2 1@101 taker fee -0.001 BTC
          b: wu exchange BTC 10.999
          b: wu exchange USD 899
        > market buy 1
          a: te #1 -1@101 maker
          a: oc #1 EXCHANGE LIMIT 0 of -2 @101 flags=64 hidden=1 EXECUTED @ 101.0(-1.0): was
            + PARTIALLY FILLED @ 101.0(-1.0)
          a: tu #1 -1@101 maker fee -0.202 USD
          a: wu exchange BTC 8
          a: wu exchange USD 1201.596
        > book
          bids 99x5 | asks 105x5
        "##,
    );
}

#[test]
fn a_hidden_order_that_may_be_seen_is_shown_once_hit() {
    check(
        r##"
        > market bid 99 5
        > market ask 105 5
        > a on EXCHANGE LIMIT -2 @101 flags=64 meta={"make_visible":1}
          a: n on-req SUCCESS Submitting exchange limit sell order for -2 BTC.
          a: on #1 EXCHANGE LIMIT -2 @101 flags=64 hidden=1 meta={"source":"api","make_visible":1} ACTIVE
        > book
          bids 99x5 | asks 105x5
        > market buy 0.5
          a: ou #1 EXCHANGE LIMIT -1.5 of -2 @101 meta={"source":"api","make_visible":1} PARTIALLY FILLED @ 101.0(-0.5)
          a: te #1 -0.5@101 maker
          a: tu #1 -0.5@101 maker fee -0.101 USD
          a: wu exchange BTC 9.5
          a: wu exchange USD 1050.399
        > book
          bids 99x5 | asks 101x1.5 105x5
        > market buy 5
          a: te #1 -1.5@101 maker
          a: oc #1 EXCHANGE LIMIT 0 of -2 @101 meta={"source":"api","make_visible":1} EXECUTED @ 101.0(-1.5): was PARTIALLY FILLED @ 101.0(-0.5)
          a: tu #1 -1.5@101 maker fee -0.1515 USD
          a: wu exchange BTC 8
          a: wu exchange USD 1201.7475
        > book
          bids 99x5 | asks 105x1.5
        "##,
    );
}

#[test]
fn post_only_rests_or_goes() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a on EXCHANGE LIMIT 1 @100 flags=4096
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @100 meta={"source":"api","$F7":1} ACTIVE
        > a on EXCHANGE LIMIT 1 @101 flags=4096
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: oc #2 EXCHANGE LIMIT 1 @101 flags=4096 meta={"source":"api","$F7":1} POSTONLY CANCELED
        > a on EXCHANGE LIMIT 1 @98 flags=4160
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #3 EXCHANGE LIMIT 1 @98 flags=64 hidden=1 meta={"source":"api","$F7":1} ACTIVE
        > a ou #1 price="101"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1 BTC.
          a: oc #1 EXCHANGE LIMIT 1 @101 prev=EXCHANGE LIMIT flags=4096 meta={"source":"api","$F7":1} POSTONLY CANCELED
        > a oc #3
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #3).
          a: oc #3 EXCHANGE LIMIT 1 @98 flags=64 hidden=1 meta={"source":"api","$F7":1} CANCELED
        > book
          bids 99x5 | asks 101x5
        "##,
    );
}

#[test]
fn reduce_only_needs_a_position_and_never_turns_it() {
    check(
        r##"
        > market bid 99 50
        > market ask 101 50
        > a on LIMIT -1 @110 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -1 BTC.
          a: oc #1 LIMIT -1 @110 flags=1024 RSN_POS_NOTFOUND
        > a on MARKET 2
          a: n on-req SUCCESS Submitting market buy order for 2 BTC.
          a: pn tBTCUSD 2 @ 101
          a: oc #2 MARKET 0 of 2 @101 EXECUTED @ 101.0(2.0)
          a: te #2 2@101 taker
          a: tu #2 2@101 taker fee -0.404 USD
          a: wu margin USD 999.596
        > a on LIMIT 1 @90 flags=1024
          a: n on-req SUCCESS Submitting limit buy order for 1 BTC.
          a: oc #3 LIMIT 1 @90 flags=1024 RSN_POS_REDUCE_INCR
        > a on LIMIT -3 @110 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -3 BTC.
          a: oc #4 LIMIT -3 @110 flags=1024 RSN_POS_REDUCE_FLIP
        > a on LIMIT -2 @110 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -2 BTC.
          a: on #5 LIMIT -2 @110 flags=1024 ACTIVE
        > a on MARKET -1 flags=1024
          a: n on-req SUCCESS Submitting market sell order for -1 BTC.
          a: pu tBTCUSD 1 @ 101
          a: oc #6 MARKET 0 of -1 @99 flags=1024 EXECUTED @ 99.0(-1.0)
          a: te #6 -1@99 taker
          a: tu #6 -1@99 taker fee -0.198 USD
          a: wu margin USD 997.398
          a: oc #5 LIMIT -2 @110 flags=1024 RSN_POS_REDUCE_FLIP
        > a on MARKET -1 flags=1024
          a: n on-req SUCCESS Submitting market sell order for -1 BTC.
          a: pc tBTCUSD 0 @ 101
          a: oc #7 MARKET 0 of -1 @99 flags=1024 EXECUTED @ 99.0(-1.0)
          a: te #7 -1@99 taker
          a: tu #7 -1@99 taker fee -0.198 USD
          a: wu margin USD 995.2
        > a state
          a: margin USD 995.2
        "##,
    );
}

#[test]
fn two_reduce_only_orders_swept_at_once_do_not_turn_the_position() {
    check(
        r##"
        > market bid 99 50
        > market ask 101 1
        > a on MARKET 1
          a: n on-req SUCCESS Submitting market buy order for 1 BTC.
          a: pn tBTCUSD 1 @ 101
          a: oc #1 MARKET 0 of 1 @101 EXECUTED @ 101.0(1.0)
          a: te #1 1@101 taker
          a: tu #1 1@101 taker fee -0.202 USD
          a: wu margin USD 999.798
        > a on LIMIT -1 @105 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -1 BTC.
          a: on #2 LIMIT -1 @105 flags=1024 ACTIVE
        > a on LIMIT -1 @106 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -1 BTC.
          a: on #3 LIMIT -1 @106 flags=1024 ACTIVE
        > market buy 2
          a: te #2 -1@105 maker
          a: oc #2 LIMIT 0 of -1 @105 flags=1024 EXECUTED @ 105.0(-1.0)
          a: tu #2 -1@105 maker fee -0.105 USD
          a: pc tBTCUSD 0 @ 101
          a: wu margin USD 1003.693
          a: oc #3 LIMIT -1 @106 flags=1024 RSN_POS_NOTFOUND
        > a state
          a: margin USD 1003.693
        > book
          bids 99x50 | asks
        "##,
    );
}

#[test]
fn close_takes_the_whole_position_whatever_amount_is_named() {
    check(
        r##"
        > market bid 99 50
        > market ask 101 50
        > a on MARKET 2
          a: n on-req SUCCESS Submitting market buy order for 2 BTC.
          a: pn tBTCUSD 2 @ 101
          a: oc #1 MARKET 0 of 2 @101 EXECUTED @ 101.0(2.0)
          a: te #1 2@101 taker
          a: tu #1 2@101 taker fee -0.404 USD
          a: wu margin USD 999.596
        > a on MARKET -0.5 flags=512
          a: n on-req SUCCESS Submitting market sell order for -2 BTC.
          a: pc tBTCUSD 0 @ 101
          a: oc #2 MARKET 0 of -2 @99 flags=512 EXECUTED @ 99.0(-2.0) was ACTIVE (note:POSCLOSE)
          a: te #2 -2@99 taker
          a: tu #2 -2@99 taker fee -0.396 USD
          a: wu margin USD 995.2
        > a on MARKET -1 flags=512
          a: n on-req SUCCESS Submitting market sell order for -1 BTC.
          a: oc #3 MARKET -1 @0 flags=512 RSN_POS_NOTFOUND
        > a on LIMIT 1 @99 flags=512
          a: n on-req SUCCESS Submitting limit buy order for 1 BTC.
          a: oc #4 LIMIT 1 @99 flags=512 RSN_POS_NOTFOUND
        > a state
          a: margin USD 995.2
        "##,
    );
}

#[test]
fn an_oco_pair_cancels_its_stop_when_the_limit_is_hit() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a on EXCHANGE LIMIT -1 @102 flags=16384 price_oco_stop="95" cid=11 cid_oco=12
          a: n on-req SUCCESS Submitting exchange limit sell order for -1 BTC.
          a: on #2 EXCHANGE STOP -1 @95 flags=16384 pair=#1 ACTIVE
          a: on #1 EXCHANGE LIMIT -1 @102 flags=16384 pair=#2 ACTIVE
        > a state
          a: open #1, open #2
        > market ask 102 1
        > market buy 5.5
          a: ou #1 EXCHANGE LIMIT -0.5 of -1 @102 flags=16384 pair=#2 PARTIALLY FILLED @
            + 102.0(-0.5)
          a: te #1 -0.5@102 maker
          a: tu #1 -0.5@102 maker fee -0.051 USD
          a: wu exchange BTC 9.5
          a: wu exchange USD 1050.949
          a: oc #2 EXCHANGE STOP -1 @95 flags=16384 pair=#1 CANCELED
        > a state
          a: exchange BTC 9.5, exchange USD 1050.949, open #1
        "##,
    );
}

#[test]
fn an_oco_pair_cancels_its_limit_when_the_stop_fires() {
    check(
        r##"
        > market bid 99 5
        > market bid 94 5
        > market ask 101 5
        > a on EXCHANGE LIMIT -10 @102 flags=16384 price_oco_stop="95"
          a: n on-req SUCCESS Submitting exchange limit sell order for -10 BTC.
          a: on #2 EXCHANGE STOP -10 @95 flags=16384 pair=#1 ACTIVE
          a: on #1 EXCHANGE LIMIT -10 @102 flags=16384 pair=#2 ACTIVE
        > market sell 5
        > market sell 1
          a: ou #2 EXCHANGE MARKET -10 @95 prev=EXCHANGE STOP flags=16384 pair=#1 ACTIVE
          a: oc #1 EXCHANGE LIMIT -10 @102 flags=16384 pair=#2 CANCELED
          a: oc #2 EXCHANGE MARKET -6 of -10 @94 prev=EXCHANGE STOP flags=16384 pair=#1
            + RSN_BOOK_SLIP was: PARTIALLY FILLED @ 94.0(-4.0)
          a: te #2 -4@94 taker
          a: tu #2 -4@94 taker fee -0.752 USD
          a: wu exchange BTC 6
          a: wu exchange USD 1375.248
        > a state
          a: exchange BTC 6, exchange USD 1375.248
        > book
          bids  | asks 101x5
        "##,
    );
}

#[test]
fn an_oco_limit_that_crosses_takes_its_stop_along() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a on EXCHANGE LIMIT 1 @101 flags=16384 price_oco_stop="110"
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #2 EXCHANGE STOP 1 @110 flags=16384 pair=#1 ACTIVE
          a: te #1 1@101 taker
          a: oc #1 EXCHANGE LIMIT 0 of 1 @101 flags=16384 pair=#2 EXECUTED @ 101.0(1.0)
          a: tu #1 1@101 taker fee -0.002 BTC
          a: wu exchange BTC 10.998
          a: wu exchange USD 899
          a: oc #2 EXCHANGE STOP 1 @110 flags=16384 pair=#1 CANCELED
        > a state
          a: exchange BTC 10.998, exchange USD 899
        "##,
    );
}

#[test]
fn legs_of_a_pair_are_cancelled_one_by_one_and_hold_money_once() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a on EXCHANGE LIMIT -10 @102 flags=16384 price_oco_stop="95"
          a: n on-req SUCCESS Submitting exchange limit sell order for -10 BTC.
          a: on #2 EXCHANGE STOP -10 @95 flags=16384 pair=#1 ACTIVE
          a: on #1 EXCHANGE LIMIT -10 @102 flags=16384 pair=#2 ACTIVE
        > a on EXCHANGE LIMIT -1 @120
          a: n on-req ERROR Invalid order: not enough exchange balance for -1 BTCUSD at 120
        > a oc #1
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 EXCHANGE LIMIT -10 @102 flags=16384 pair=#2 CANCELED
        > a state
          a: open #2
        > a oc #2
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #2).
          a: oc #2 EXCHANGE STOP -10 @95 flags=16384 pair=#1 CANCELED
        > a on EXCHANGE LIMIT -1 @120
          a: n on-req SUCCESS Submitting exchange limit sell order for -1 BTC.
          a: on #3 EXCHANGE LIMIT -1 @120 ACTIVE
        "##,
    );
}

#[test]
fn an_oco_order_must_be_a_limit_with_a_stop_price() {
    check(
        r##"
        > a on EXCHANGE STOP 1 @100 flags=16384 price_oco_stop="110"
          a: n on-req ERROR type: invalid
        > a on EXCHANGE LIMIT 1 @100 flags=16384
          a: n on-req ERROR price_oco_stop: invalid
        > a on EXCHANGE LIMIT 1 @100 flags=16384 price_oco_stop="110" cid=5 cid_oco=5
          a: n on-req ERROR cid: dup
        "##,
    );
}

#[test]
fn tif_ends_an_order_at_its_time() {
    check(
        r##"
        > market bid 99 5
        > a on EXCHANGE LIMIT 1 @98 tif="2025-01-01T00:00:02"
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @98 tif=1735689602000 ACTIVE
        > a on EXCHANGE LIMIT 1 @97 tif="2025-01-02"
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #2 EXCHANGE LIMIT 1 @97 tif=1735776000000 ACTIVE
        > a on EXCHANGE LIMIT 1 @97 tif="2024-12-31"
          a: n on-req ERROR tif: invalid
        > a on EXCHANGE LIMIT 1 @97 tif="never"
          a: n on-req ERROR tif: invalid
        > wait 1999
        > wait 1
          a: oc #1 EXCHANGE LIMIT 1 @98 tif=1735689602000 CANCELED
        > a ou #2 tif="2025-01-01T00:00:03"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1 BTC.
          a: ou #2 EXCHANGE LIMIT 1 @97 prev=EXCHANGE LIMIT tif=1735689603000 ACTIVE
        > wait 1000
          a: oc #2 EXCHANGE LIMIT 1 @97 prev=EXCHANGE LIMIT tif=1735689603000 CANCELED
        "##,
    );
}

#[test]
fn an_amendment_smaller_keeps_its_place_and_anything_else_does_not() {
    check(
        r##"
        > market bid 90 1
        > a on EXCHANGE LIMIT 2 @99
          a: n on-req SUCCESS Submitting exchange limit buy order for 2 BTC.
          a: on #1 EXCHANGE LIMIT 2 @99 ACTIVE
        > b on EXCHANGE LIMIT 1 @99
          b: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          b: on #2 EXCHANGE LIMIT 1 @99 ACTIVE
        > a ou #1 amount="1"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1 BTC.
          a: ou #1 EXCHANGE LIMIT 1 @99 prev=EXCHANGE LIMIT ACTIVE
        > market sell 0.5
          a: ou #1 EXCHANGE LIMIT 0.5 of 1 @99 prev=EXCHANGE LIMIT PARTIALLY FILLED @ 99.0(0.5)
          a: te #1 0.5@99 maker
          a: tu #1 0.5@99 maker fee -0.0005 BTC
          a: wu exchange BTC 10.4995
          a: wu exchange USD 950.5
        > a ou #1 delta="1"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1.5 BTC.
          a: ou #1 EXCHANGE LIMIT 1.5 of 2 @99 prev=EXCHANGE LIMIT PARTIALLY FILLED @ 99.0(0.5)
        > market sell 1.2
          b: te #2 1@99 maker
          b: oc #2 EXCHANGE LIMIT 0 of 1 @99 EXECUTED @ 99.0(1.0)
          b: tu #2 1@99 maker fee -0.001 BTC
          b: wu exchange BTC 10.999
          b: wu exchange USD 901
          a: ou #1 EXCHANGE LIMIT 1.3 of 2 @99 prev=EXCHANGE LIMIT PARTIALLY FILLED @ 99.0(0.5),
            + PARTIALLY FILLED @ 99.0(0.2)
          a: te #1 0.2@99 maker
          a: tu #1 0.2@99 maker fee -0.0002 BTC
          a: wu exchange BTC 10.6993
          a: wu exchange USD 930.7
        > a ou #1 price="98"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1.3 BTC.
          a: ou #1 EXCHANGE LIMIT 1.3 of 2 @98 prev=EXCHANGE LIMIT PARTIALLY FILLED @ 99.0(0.5),
            + PARTIALLY FILLED @ 99.0(0.2)
        > a ou #1 amount="-1"
          a: n ou-req ERROR amount: invalid
        > a ou #1 amount="0.000001"
          a: n ou-req ERROR Invalid order: minimum size for BTC/USD is 0.00004
        > a ou id=9 amount="1"
          a: n ou-req ERROR Order not found.
        > book
          bids 98x1.3 90x1 | asks
        "##,
    );
}

#[test]
fn an_amendment_that_crosses_is_executed() {
    check(
        r##"
        > market ask 101 1
        > a on EXCHANGE LIMIT 2 @99
          a: n on-req SUCCESS Submitting exchange limit buy order for 2 BTC.
          a: on #1 EXCHANGE LIMIT 2 @99 ACTIVE
        > a ou #1 price="101"
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 2 BTC.
          a: ou #1 EXCHANGE LIMIT 1 of 2 @101 prev=EXCHANGE LIMIT PARTIALLY FILLED @ 101.0(1.0)
          a: te #1 1@101 taker
          a: tu #1 1@101 taker fee -0.002 BTC
          a: wu exchange BTC 10.998
          a: wu exchange USD 899
        > a ou #1 flags=64
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1 BTC.
          a: ou #1 EXCHANGE LIMIT 1 of 2 @101 prev=EXCHANGE LIMIT flags=64 hidden=1 PARTIALLY
            + FILLED @ 101.0(1.0)
        > book
          bids  | asks
        > a oc #1
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 EXCHANGE LIMIT 1 of 2 @101 prev=EXCHANGE LIMIT flags=64 hidden=1 CANCELED
            + was: PARTIALLY FILLED @ 101.0(1.0)
        "##,
    );
}

#[test]
fn own_orders_match_unless_the_order_asks_otherwise() {
    check(
        r##"
        > market ask 110 5
        > a on EXCHANGE LIMIT -1 @101
          a: n on-req SUCCESS Submitting exchange limit sell order for -1 BTC.
          a: on #1 EXCHANGE LIMIT -1 @101 ACTIVE
        > a on EXCHANGE LIMIT 0.5 @101
          a: n on-req SUCCESS Submitting exchange limit buy order for 0.5 BTC.
          a: ou #1 EXCHANGE LIMIT -0.5 of -1 @101 PARTIALLY FILLED @ 101.0(-0.5)
          a: te #1 -0.5@101 maker
          a: tu #1 -0.5@101 maker fee -0.0505 USD
          a: wu exchange BTC 9.999
          a: wu exchange USD 999.9495
          a: te #2 0.5@101 taker
          a: oc #2 EXCHANGE LIMIT 0 of 0.5 @101 EXECUTED @ 101.0(0.5)
          a: tu #2 0.5@101 taker fee -0.001 BTC
          a: wu exchange BTC 9.999
          a: wu exchange USD 999.9495
        > a on EXCHANGE LIMIT 1 @101 meta={"protect_selfmatch":1}
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: oc #3 EXCHANGE LIMIT 1 @101 meta={"source":"api","protect_selfmatch":1} CANCELED
        > b on EXCHANGE LIMIT 0.2 @101 meta={"protect_selfmatch":1}
          b: n on-req SUCCESS Submitting exchange limit buy order for 0.2 BTC.
          a: ou #1 EXCHANGE LIMIT -0.3 of -1 @101 PARTIALLY FILLED @ 101.0(-0.5), PARTIALLY
            + FILLED @ 101.0(-0.2)
          a: te #1 -0.2@101 maker
          a: tu #1 -0.2@101 maker fee -0.0202 USD
          a: wu exchange BTC 9.799
          a: wu exchange USD 1020.1293
          b: te #4 0.2@101 taker
          b: oc #4 EXCHANGE LIMIT 0 of 0.2 @101 meta={"source":"api","protect_selfmatch":1} EXECUTED @ 101.0(0.2)
          b: tu #4 0.2@101 taker fee -0.0004 BTC
          b: wu exchange BTC 10.1996
          b: wu exchange USD 979.8
        > a on EXCHANGE FOK 0.3 @101 meta={"protect_selfmatch":1}
          a: n on-req SUCCESS Submitting exchange fok buy order for 0.3 BTC.
          a: oc #5 EXCHANGE FOK 0.3 @101 meta={"source":"api","protect_selfmatch":1} FILLORKILL CANCELED
        > a state
          a: exchange BTC 9.799, exchange USD 1020.1293, open #1
        "##,
    );
}

#[test]
fn what_cannot_be_paid_is_refused() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a on EXCHANGE LIMIT 11 @100
          a: n on-req ERROR Invalid order: not enough exchange balance for 11 BTCUSD at 100
        > a on EXCHANGE LIMIT 6 @100
          a: n on-req SUCCESS Submitting exchange limit buy order for 6 BTC.
          a: on #1 EXCHANGE LIMIT 6 @100 ACTIVE
        > a on EXCHANGE LIMIT 5 @100
          a: n on-req ERROR Invalid order: not enough exchange balance for 5 BTCUSD at 100
        > a on EXCHANGE LIMIT 4 @100
          a: n on-req SUCCESS Submitting exchange limit buy order for 4 BTC.
          a: on #2 EXCHANGE LIMIT 4 @100 ACTIVE
        > a on EXCHANGE LIMIT -11 @100
          a: n on-req ERROR Invalid order: not enough exchange balance for -11 BTCUSD at 100
        > a on EXCHANGE STOP LIMIT 5 @99 price_aux_limit="100"
          a: n on-req ERROR Invalid order: not enough exchange balance for 5 BTCUSD at 100
        > a on LIMIT 1000 @100
          a: n on-req ERROR Invalid order: not enough tradable balance for 1000 BTCUSD at 100
        "##,
    );
}

#[test]
fn bad_requests_are_refused_in_the_venues_words() {
    check(
        r##"
        > a on EXCHANGE LIMIT 1
          a: n on-req ERROR Invalid price.
        > a on EXCHANGE LIMIT 0 @100
          a: n on-req ERROR amount: invalid
        > a on EXCHANGE LIMIT 1 @100 symbol=tNOPE:USD
          a: n on-req ERROR symbol: invalid
        > a on NONSENSE 1 @100
          a: n on-req ERROR type: invalid
        > a on EXCHANGE LIMIT 0.00001 @100
          a: n on-req ERROR Invalid order: minimum size for BTC/USD is 0.00004
        > a on EXCHANGE LIMIT 3000 @100
          a: n on-req ERROR Invalid order: maximum size for BTC/USD is 2000
        > a on EXCHANGE LIMIT 1 @100 cid=35184372088832
          a: n on-req ERROR cid: invalid
        > a on EXCHANGE LIMIT 1 @100 cid="x"
          a: n on-req ERROR cid: invalid
        > a on EXCHANGE STOP LIMIT 1 @100
          a: n on-req ERROR price_aux_limit: invalid
        > a on EXCHANGE TRAILING STOP 1 price_trailing="-2"
          a: n on-req ERROR price_trailing: invalid
        > a on EXCHANGE LIMIT 1 @90 cid=5
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @90 ACTIVE
        > a on EXCHANGE LIMIT 1 @90 cid=5
          a: n on-req ERROR cid: dup
        > a oc id=99
          a: n oc-req ERROR Order not found.
        > a oc cid=6
          a: n oc-req ERROR Order not found.
        > a oc cid=5 cid_date="2024-12-31"
          a: n oc-req ERROR Order not found.
        > a oc cid=5 cid_date="nonsense"
          a: n oc-req ERROR cid_date: invalid
        > a oc cid=5 cid_date="2025-01-01"
          a: n oc-req SUCCESS Submitted for cancellation; waiting for confirmation (ID: #1).
          a: oc #1 EXCHANGE LIMIT 1 @90 CANCELED
        > a oc
          a: n oc-req ERROR id: invalid
        "##,
    );
}

#[test]
fn meta_is_echoed() {
    check(
        r##"
        > a on EXCHANGE LIMIT 1 @90 meta={"aff_code":"AFF_CODE_HERE"}
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @90 meta={"source":"api","aff_code":"AFF_CODE_HERE"} ACTIVE
        > a on LIMIT 1 @90 gid=77 lev=5
          a: n on-req SUCCESS Submitting limit buy order for 1 BTC.
          a: on #2 LIMIT 1 @90 ACTIVE
        > a ou #2 gid=78
          a: n ou-req SUCCESS Submitting update to limit buy order for 1 BTC.
          a: ou #2 LIMIT 1 @90 prev=LIMIT ACTIVE
        "##,
    );
}
