//! Bad links: F36.

use std::{thread::sleep, time::Duration};

use super::{
    case::{Allowed, Bars, Case, assert_never},
    sandbox,
};
use crate::failover::{managed, start};

#[test]
#[ignore = "takes long, and a network namespace"]
fn f36_lost_packets_are_no_failover() {
    if !sandbox::is_entered("matrix::network::f36_lost_packets_are_no_failover") {
        return;
    }
    let herd = start(managed(2));
    let bars = Bars::of_ms(2000, 2000);
    let case = Case::begin("F36 1 to 5 % of all packets lost", Allowed::Nothing, bars, &herd, 50);
    for percent in 1..=5 {
        sandbox::firewall(&sandbox::lose(percent));
        sleep(Duration::from_secs(12));
    }
    sandbox::firewall("");
    case.end(&herd, 0);
    assert_never(&herd, "primary_lost");
}
