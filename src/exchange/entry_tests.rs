//! Several operations at once, figures on request, margin and derivatives, as accounts are told of
//! them.

use super::script_tests::*;

#[test]
fn several_operations_in_one_message_are_answered_one_by_one() {
    check(
        r##"
        > market bid 99 5
        > market ask 101 5
        > a raw [0,"ox_multi",null,[["on",{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"1","price":"90","gid":5}],["on",{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"1","price":"91","gid":5}],["on",{"type":"EXCHANGE LIMIT","symbol":"tBTCUSD","amount":"-99","price":"91"}],["oc",{"id":7}]]]
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #1 EXCHANGE LIMIT 1 @90 ACTIVE
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #2 EXCHANGE LIMIT 1 @91 ACTIVE
          a: n on-req ERROR Invalid order: not enough exchange balance for -99 BTCUSD at 91
          a: n oc-req ERROR Order not found.
        > a raw [0,"ox_multi",null,[["ou",{"id":#1,"price":"92"}],["oc_multi",{"gid":[5]}],["nonsense",{}]]]
          a: n ou-req SUCCESS Submitting update to exchange limit buy order for 1 BTC.
          a: ou #1 EXCHANGE LIMIT 1 @92 prev=EXCHANGE LIMIT ACTIVE
          a: n oc_multi-req SUCCESS Submitting 2 order cancellations.
          a: oc #1 EXCHANGE LIMIT 1 @92 prev=EXCHANGE LIMIT CANCELED
          a: oc #2 EXCHANGE LIMIT 1 @91 CANCELED
        > a raw [0,"ox_multi",null,[]]
          a: n ox_multi-req ERROR ops: invalid
        "##,
    );
}

#[test]
fn orders_are_cancelled_together_by_id_group_client_id_or_all() {
    check(
        r##"
        > a on EXCHANGE LIMIT 0.1 @90 cid=1 gid=7
          a: n on-req SUCCESS Submitting exchange limit buy order for 0.1 BTC.
          a: on #1 EXCHANGE LIMIT 0.1 @90 ACTIVE
        > a on EXCHANGE LIMIT 0.1 @90 cid=2 gid=7
          a: n on-req SUCCESS Submitting exchange limit buy order for 0.1 BTC.
          a: on #2 EXCHANGE LIMIT 0.1 @90 ACTIVE
        > a on EXCHANGE LIMIT 0.1 @90 cid=3
          a: n on-req SUCCESS Submitting exchange limit buy order for 0.1 BTC.
          a: on #3 EXCHANGE LIMIT 0.1 @90 ACTIVE
        > a on EXCHANGE LIMIT 0.1 @90 cid=4
          a: n on-req SUCCESS Submitting exchange limit buy order for 0.1 BTC.
          a: on #4 EXCHANGE LIMIT 0.1 @90 ACTIVE
        > a on EXCHANGE STOP 0.1 @90 cid=5
          a: n on-req SUCCESS Submitting exchange stop buy order for 0.1 BTC.
          a: on #5 EXCHANGE STOP 0.1 @90 ACTIVE
        > a on LIMIT 0.1 @90 cid=6
          a: n on-req SUCCESS Submitting limit buy order for 0.1 BTC.
          a: on #6 LIMIT 0.1 @90 ACTIVE
        > b on EXCHANGE LIMIT 0.1 @90 cid=1
          b: n on-req SUCCESS Submitting exchange limit buy order for 0.1 BTC.
          b: on #7 EXCHANGE LIMIT 0.1 @90 ACTIVE
        > a raw [0,"oc_multi",null,{"gid":[7,99]}]
          a: n oc_multi-req SUCCESS Submitting 2 order cancellations.
          a: oc #1 EXCHANGE LIMIT 0.1 @90 CANCELED
          a: oc #2 EXCHANGE LIMIT 0.1 @90 CANCELED
        > a raw [0,"oc_multi",null,{"cid":[[3,"2025-01-01"],[4,"2024-12-31"]]}]
          a: n oc_multi-req SUCCESS Submitting 1 order cancellations.
          a: oc #3 EXCHANGE LIMIT 0.1 @90 CANCELED
        > a raw [0,"oc_multi",null,{"id":[#4,12345]}]
          a: n oc_multi-req SUCCESS Submitting 1 order cancellations.
          a: oc #4 EXCHANGE LIMIT 0.1 @90 CANCELED
        > a raw [0,"oc_multi",null,{}]
          a: n oc_multi-req ERROR id: invalid
        > a raw [0,"oc_multi",null,{"all":0}]
          a: n oc_multi-req ERROR id: invalid
        > a raw [0,"oc_multi",null,{"all":1}]
          a: n oc_multi-req SUCCESS Submitting 2 order cancellations.
          a: oc #5 EXCHANGE STOP 0.1 @90 CANCELED
          a: oc #6 LIMIT 0.1 @90 CANCELED
        > a state
          a:
        > b state
          b: open #7
        "##,
    );
}

#[test]
fn figures_are_told_when_they_are_asked_for() {
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
        > a on EXCHANGE LIMIT 1 @90
          a: n on-req SUCCESS Submitting exchange limit buy order for 1 BTC.
          a: on #2 EXCHANGE LIMIT 1 @90 ACTIVE
        > market bid 103 50
        > market sell 1
        > a raw [0,"calc",null,[["balance"],["wallet_exchange_USD"],["wallet_margin_USD"],["position_tBTCUSD"],["margin_base"],["margin_sym_tBTCUSD"],["funding_sym_fUSD"],["nonsense"]]]
          a: bu [1999.596,1999.596]
          a: wu exchange USD 1000
          a: wu margin USD 999.596
          a: pu tBTCUSD 2 @ 101
          a: miu ["base",[4,0,2029.596,2033.596,10.3]]
          a: miu ["sym","tBTCUSD",[20129.96,20335.96,0,195.43650485,null,null,null,null]]
          a: fiu ["sym","fUSD",[0,0,0,0]]
        > b raw [0,"calc",null,["margin_base"]]
          b: miu ["base",[0,0,2030,2030,0]]
        "##,
    );
}

#[test]
fn too_many_calculations_are_refused() {
    check(
        r##"
        > a raw [0,"calc",null,[["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"],["balance"]]]
          a: {"event":"error","msg":"calc: limit","code":10001}
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["nonsense"]]]
        > a raw [0,"calc",null,[["balance"]]]
          a: bu [2000,2000]
        > a raw [0,"calc",null,[["balance"]]]
          a: {"event":"error","msg":"calc: limit","code":10001}
        > wait 1000
        > a raw [0,"calc",null,[["balance"]]]
          a: bu [2000,2000]
        "##,
    );
}

#[test]
fn a_thin_margin_account_loses_its_positions() {
    check(
        r##"
        > market bid 100 50
        > market ask 101 100
        > market buy 1
        > a on MARKET 80
          a: n on-req SUCCESS Submitting market buy order for 80 BTC.
          a: pn tBTCUSD 80 @ 101
          a: oc #1 MARKET 0 of 80 @101 EXECUTED @ 101.0(80.0)
          a: te #1 80@101 taker
          a: tu #1 80@101 taker fee -16.16 USD
          a: wu margin USD 983.84
        > a state
          a: margin USD 983.84, position tBTCUSD 80 @ 101
        > a on LIMIT -80 @150
          a: n on-req SUCCESS Submitting limit sell order for -80 BTC.
          a: on #2 LIMIT -80 @150 ACTIVE
        > market bid 80 200
        > market sell 48
        > market sell 3
          a: oc #2 LIMIT -80 @150 CANCELED
          a: pc tBTCUSD 0 @ 101
          a: oc #3 MARKET 0 of -80 @80 flags=512 FORCED EXECUTED @ 80.0(-80.0) was ACTIVE
            + (note:POSCLOSE)
          a: te #3 -80@80 taker
          a: tu #3 -80@80 taker fee -12.8 USD
          a: wu margin USD -708.96
        > a state
          a: margin USD -708.96
        > book
          bids 80x119 | asks 101x19
        "##,
    );
}

#[test]
fn derivative_orders_take_collateral_by_their_leverage() {
    check_with(
        derivatives(),
        r##"
        > market bid 99 50
        > market ask 101 50
        > a on LIMIT 1 @90 symbol=tBTCF0:USTF0
          a: n on-req SUCCESS Submitting limit buy order for 1 BTCF0.
          a: on #1 LIMIT 1 @90 meta={"source":"api","$F33":10} ACTIVE
        > a on LIMIT 1 @90 symbol=tBTCF0:USTF0 lev=101
          a: n on-req ERROR lev: invalid
        > a on EXCHANGE LIMIT 1 @90 symbol=tBTCF0:USTF0
          a: n on-req ERROR type: invalid
        > a on MARKET 2 symbol=tBTCF0:USTF0 lev=20
          a: n on-req SUCCESS Submitting market buy order for 2 BTCF0.
          a: pn tBTCF0:USTF0 2 @ 101
          a: oc #2 MARKET 0 of 2 @101 meta={"source":"api","$F33":20} EXECUTED @ 101.0(2.0)
          a: te #2 2@101 taker
          a: tu #2 2@101 taker fee -0.404 USTF0
          a: wu margin USTF0 989.496
        > a on LIMIT 100 @98 symbol=tBTCF0:USTF0
          a: n on-req SUCCESS Submitting limit buy order for 100 BTCF0.
          a: on #3 LIMIT 100 @98 meta={"source":"api","$F33":10} ACTIVE
        > a on LIMIT 1000 @98 symbol=tBTCF0:USTF0 lev=100
          a: n on-req ERROR Invalid order: not enough tradable balance for 1000 BTCF0:USTF0 at 98
        > a raw [0,"calc",null,[["position_tBTCF0:USTF0"]]]
          a: pu tBTCF0:USTF0 2 @ 101
        > a on MARKET -1 symbol=tBTCF0:USTF0
          a: n on-req SUCCESS Submitting market sell order for -1 BTCF0.
          a: pu tBTCF0:USTF0 1 @ 101
          a: oc #4 MARKET 0 of -1 @99 meta={"source":"api","$F33":10} EXECUTED @ 99.0(-1.0)
          a: te #4 -1@99 taker
          a: tu #4 -1@99 taker fee -0.198 USTF0
          a: wu margin USTF0 992.348
        > a on MARKET 1 symbol=tBTCF0:USTF0 flags=512
          a: n on-req SUCCESS Submitting market sell order for -1 BTCF0.
          a: pc tBTCF0:USTF0 0 @ 101
          a: oc #5 MARKET 0 of -1 @99 flags=512 meta={"source":"api","$F33":10} EXECUTED @ 99.0(-1.0) was ACTIVE (note:POSCLOSE)
          a: te #5 -1@99 taker
          a: tu #5 -1@99 taker fee -0.198 USTF0
          a: wu margin USTF0 995.2
        > a state
          a: margin USTF0 995.2, open #1, open #3
        "##,
    );
}

#[test]
fn a_derivative_position_ends_when_its_collateral_does_not_carry_it() {
    check_with(
        derivatives(),
        r##"
        > market bid 99 50
        > market ask 100 50
        > a on MARKET 40 symbol=tBTCF0:USTF0 lev=50
          a: n on-req SUCCESS Submitting market buy order for 40 BTCF0.
          a: pn tBTCF0:USTF0 40 @ 100
          a: oc #1 MARKET 0 of 40 @100 meta={"source":"api","$F33":50} EXECUTED @ 100.0(40.0)
          a: te #1 40@100 taker
          a: tu #1 40@100 taker fee -8 USTF0
          a: wu margin USTF0 912
        > a on LIMIT -40 @150 symbol=tBTCF0:USTF0 flags=1024
          a: n on-req SUCCESS Submitting limit sell order for -40 BTCF0.
          a: on #2 LIMIT -40 @150 flags=1024 meta={"source":"api","$F33":10} ACTIVE
        > b on LIMIT 5 @98.5 symbol=tBTCF0:USTF0
          b: n on-req SUCCESS Submitting limit buy order for 5 BTCF0.
          b: on #3 LIMIT 5 @98.5 meta={"source":"api","$F33":10} ACTIVE
        > market sell 49.9
        > market bid 98 200
        > market sell 5.1
          b: te #3 5@98.5 maker
          b: oc #3 LIMIT 0 of 5 @98.5 meta={"source":"api","$F33":10} EXECUTED @ 98.5(5.0)
          b: tu #3 5@98.5 maker fee -0.4925 USTF0
          b: pn tBTCF0:USTF0 5 @ 98.5
          b: wu margin USTF0 950.2575
        > market sell 1
          a: oc #2 LIMIT -40 @150 flags=1024 meta={"source":"api","$F33":10} CANCELED
          a: pc tBTCF0:USTF0 0 @ 100
          a: oc #4 MARKET 0 of -40 @98 flags=512 meta={"source":"api","$F33":50} FORCED EXECUTED @ 98.0(-40.0) was ACTIVE (note:POSCLOSE)
          a: te #4 -40@98 taker
          a: tu #4 -40@98 taker fee -7.84 USTF0
          a: wu margin USTF0 904.16
        > a state
          a: margin USTF0 904.16
        > b state
          b: margin USTF0 950.2575, position tBTCF0:USTF0 5 @ 98.5
        > book
          bids 98x159 | asks 100x10
        "##,
    );
}

#[test]
fn a_derivative_loss_beyond_everything_is_paid_by_the_insurance_fund() {
    check_with(
        derivatives(),
        r##"
        > market bid 100 1
        > market ask 100.1 900
        > a on MARKET 400 symbol=tBTCF0:USTF0 lev=100
          a: n on-req SUCCESS Submitting market buy order for 400 BTCF0.
          a: pn tBTCF0:USTF0 400 @ 100.1
          a: oc #1 MARKET 0 of 400 @100.1 meta={"source":"api","$F33":100} EXECUTED @ 100.1(400.0)
          a: te #1 400@100.1 taker
          a: tu #1 400@100.1 taker fee -80.08 USTF0
          a: wu margin USTF0 519.52
        > market bid 50 900
        > market sell 2
          a: pc tBTCF0:USTF0 0 @ 100.1
          a: oc #2 MARKET 0 of -400 @50 flags=512 meta={"source":"api","$F33":100} FORCED EXECUTED @ 50.0(-400.0) was ACTIVE (note:POSCLOSE)
          a: te #2 -400@50 taker
          a: tu #2 -400@50 taker fee -40 USTF0
          a: wu margin USTF0 479.52
        > a state
          a: margin USTF0 479.52
        "##,
    );
}
