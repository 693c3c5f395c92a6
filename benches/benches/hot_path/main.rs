//! What each message and each statement costs in the proxy's own code, without sockets: `cargo bench -p benches`.
//!
//! The samples are few and short, so that all of it takes a minute or two; `-- --sample-size 100 --measurement-time 5`
//! takes more of them.

mod checkout;
mod classification;
mod framing;
mod ledger;
mod routing_decision;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    framing::measure(&mut criterion);
    ledger::measure(&mut criterion);
    classification::measure(&mut criterion);
    routing_decision::measure(&mut criterion);
    checkout::measure(&mut criterion);
    criterion.final_summary();
}
