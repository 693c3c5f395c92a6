use super::*;

fn ledger(owed: &[Owed]) -> Ledger {
    let mut ledger = Ledger::default();
    for &owed in owed {
        ledger.owe(owed, Origin::Client);
    }
    ledger
}

#[track_caller]
fn receive(ledger: &mut Ledger, tags: &[u8]) {
    for &tag in tags {
        ledger.receive(tag, b"I").unwrap_or_else(|e| panic!("{e}: {ledger:?}"));
    }
}

#[track_caller]
fn refuse(ledger: &mut Ledger, tag: u8) {
    assert_eq!(ledger.receive(tag, b"I"), Err(Unowed { tag }), "{ledger:?}");
}

#[test]
fn a_batch_is_settled_by_its_answers_in_order() {
    let mut ledger = ledger(&[Owed::Parse, Owed::Bind, Owed::DescribePortal, Owed::Execute, Owed::Sync]);
    receive(&mut ledger, b"12TDDC");
    assert!(!ledger.is_settled());
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
}

#[test]
fn a_row_that_nobody_asked_for_is_refused() {
    refuse(&mut ledger(&[]), b'D');
    refuse(&mut ledger(&[]), b'Z');
    refuse(&mut ledger(&[Owed::Parse, Owed::Sync]), b'D');
    refuse(&mut ledger(&[Owed::Bind, Owed::Sync]), b'1');
    refuse(&mut ledger(&[Owed::DescribeStatement]), b'T');
}

#[test]
fn a_second_ready_for_query_is_refused() {
    let mut ledger = ledger(&[Owed::Query]);
    receive(&mut ledger, b"CZ");
    refuse(&mut ledger, b'Z');
}

#[test]
fn an_error_in_a_batch_skips_to_its_sync() {
    let mut ledger = ledger(&[Owed::Parse, Owed::Bind, Owed::Execute, Owed::Sync, Owed::Query]);
    receive(&mut ledger, b"1EZ");
    assert_eq!(ledger.ready_owed(), 1);
    receive(&mut ledger, b"TDCZ");
    assert!(ledger.is_settled());
}

#[test]
fn after_an_error_without_sync_requests_are_not_answered_until_one_comes() {
    let mut ledger = ledger(&[Owed::Parse]);
    receive(&mut ledger, b"E");
    assert!(ledger.is_skipping() && !ledger.is_settled());
    ledger.owe(Owed::Query, Origin::Client);
    ledger.answer_locally(Local::ParseComplete);
    assert!(ledger.is_empty());
    ledger.owe(Owed::Sync, Origin::Client);
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
}

#[test]
fn an_error_at_the_sync_itself_still_brings_ready_for_query() {
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync]);
    receive(&mut ledger, b"CEZ");
    assert!(ledger.is_settled());
}

#[test]
fn an_injected_parse_is_swallowed_and_the_next_answer_is_not() {
    let mut ledger = Ledger::default();
    ledger.owe(Owed::Parse, Origin::Proxy);
    ledger.owe(Owed::Bind, Origin::Client);
    assert_eq!(ledger.receive(b'1', b""), Ok(Verdict::Reply(Owner::Proxy)));
    assert_eq!(ledger.receive(b'2', b""), Ok(Verdict::Reply(Owner::Client)));
}

#[test]
fn a_local_answer_comes_in_its_turn_only() {
    let mut ledger = ledger(&[Owed::Bind]);
    ledger.answer_locally(Local::ParseComplete);
    ledger.owe(Owed::Sync, Origin::Client);
    assert_eq!(ledger.take_local(), None);
    receive(&mut ledger, b"2");
    assert_eq!(ledger.take_local(), Some(Local::ParseComplete));
    receive(&mut ledger, b"Z");
}

#[test]
fn a_local_answer_behind_an_error_is_never_given() {
    let mut ledger = ledger(&[Owed::Bind]);
    ledger.answer_locally(Local::ParseComplete);
    ledger.owe(Owed::Sync, Origin::Client);
    receive(&mut ledger, b"E");
    assert_eq!(ledger.take_local(), None);
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
}

#[test]
fn a_sync_sent_before_copy_in_began_is_ignored_by_the_server() {
    // libpq: Parse Bind Describe Execute Sync, then on CopyInResponse data, CopyDone and another Sync
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync]);
    receive(&mut ledger, b"G");
    assert!(ledger.is_copy_in());
    ledger.owe(Owed::CopyEnd, Origin::Client);
    ledger.owe(Owed::Sync, Origin::Client);
    receive(&mut ledger, b"CZ");
    assert!(ledger.is_settled());
}

#[test]
fn copy_data_sent_ahead_blindly_is_settled_by_one_ready_for_query() {
    let mut ledger = ledger(&[Owed::Execute, Owed::CopyEnd, Owed::Sync]);
    receive(&mut ledger, b"GCZ");
    assert!(ledger.is_settled());
}

#[test]
fn a_copy_that_fails_in_the_simple_protocol_ignores_what_the_client_still_sends() {
    let mut ledger = ledger(&[Owed::Query]);
    receive(&mut ledger, b"GE");
    ledger.owe(Owed::CopyEnd, Origin::Client);
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
    ledger.owe(Owed::CopyEnd, Origin::Client);
    ledger.owe(Owed::Query, Origin::Client);
    receive(&mut ledger, b"CZ");
    assert!(ledger.is_settled());
}

#[test]
fn the_end_of_a_copy_that_never_began_stands_in_nobodys_way() {
    let mut ledger = ledger(&[Owed::CopyEnd]);
    assert!(ledger.is_settled());
    ledger.answer_locally(Local::ParseComplete);
    ledger.owe(Owed::CopyEnd, Origin::Client);
    ledger.answer_locally(Local::CloseComplete);
    ledger.owe(Owed::Sync, Origin::Client);
    assert_eq!(ledger.take_local(), Some(Local::ParseComplete));
    assert_eq!(ledger.take_local(), Some(Local::CloseComplete));
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
}

#[test]
fn a_copy_that_fails_in_the_extended_protocol_waits_for_the_next_sync() {
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync]);
    receive(&mut ledger, b"GE");
    assert!(ledger.is_skipping());
    ledger.owe(Owed::CopyEnd, Origin::Client);
    ledger.owe(Owed::Sync, Origin::Client);
    receive(&mut ledger, b"Z");
    assert!(ledger.is_answered());
    assert!(
        !ledger.is_settled(),
        "the first Sync may not have been read by the COPY, and then it is answered, too"
    );
    ledger.owe(Owed::Query, Origin::Proxy);
    receive(&mut ledger, b"IZ");
    assert!(ledger.is_settled());
}

#[test]
fn a_sync_that_a_failed_copy_did_not_read_is_answered_to_nobody() {
    // "cannot copy to view": the server finds out after CopyInResponse and before it reads
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync, Owed::CopyEnd, Owed::Sync]);
    receive(&mut ledger, b"GEZ");
    assert!(ledger.is_answered() && !ledger.is_settled());
    ledger.owe(Owed::Query, Origin::Client);
    assert_eq!(ledger.receive(b'Z', b"I"), Ok(Verdict::Reply(Owner::Proxy)));
    assert_eq!(ledger.receive(b'D', b""), Ok(Verdict::Reply(Owner::Client)));
    receive(&mut ledger, b"C");
    assert_eq!(ledger.receive(b'Z', b"I"), Ok(Verdict::Ready(Owner::Client)));
    assert!(ledger.is_settled());
    refuse(&mut ledger, b'Z');
}

#[test]
fn a_sync_that_a_failed_copy_did_not_read_ends_the_skipping() {
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync]);
    receive(&mut ledger, b"GE");
    assert_eq!(ledger.receive(b'Z', b"I"), Ok(Verdict::Ready(Owner::Client)));
    assert!(ledger.is_settled());
    ledger.owe(Owed::CopyEnd, Origin::Client);
    ledger.owe(Owed::Sync, Origin::Client);
    receive(&mut ledger, b"Z");
    assert!(ledger.is_settled());
}

#[test]
fn requests_where_copy_data_had_to_come_are_answered_if_the_copy_failed_first() {
    let mut ledger = ledger(&[Owed::Execute, Owed::Sync, Owed::Parse, Owed::Sync]);
    receive(&mut ledger, b"GEZ1Z");
    assert!(ledger.is_settled());
}

#[test]
fn after_its_error_a_query_brings_no_rows() {
    let mut ledger = ledger(&[Owed::Query]);
    receive(&mut ledger, b"TDE");
    refuse(&mut ledger, b'D');
}

#[test]
fn notices_and_parameters_may_come_at_any_time() {
    let mut ledger = ledger(&[]);
    receive(&mut ledger, b"NSA");
    assert!(ledger.is_settled());
}

#[test]
fn a_ready_for_query_with_an_unknown_status_is_refused() {
    assert_eq!(ledger(&[Owed::Sync]).receive(b'Z', b"X"), Err(Unowed { tag: b'Z' }));
    assert_eq!(ledger(&[Owed::Sync]).receive(b'Z', b""), Err(Unowed { tag: b'Z' }));
}

#[test]
fn what_a_client_of_a_lost_server_still_expects_is_known() {
    let mut open = ledger(&[Owed::Query, Owed::Parse, Owed::Sync, Owed::Bind]);
    assert_eq!(open.abandon(), Abandoned { ready_owed: 2, unit_open: true });
    assert!(open.is_settled());
    let mut copying = ledger(&[Owed::Execute, Owed::Sync]);
    receive(&mut copying, b"G");
    assert_eq!(copying.abandon(), Abandoned { ready_owed: 0, unit_open: true });
    let mut injected = Ledger::default();
    injected.owe(Owed::Query, Origin::Proxy);
    injected.owe(Owed::Query, Origin::Client);
    assert_eq!(injected.abandon(), Abandoned { ready_owed: 1, unit_open: false });
}

mod model {
    //! A PostgreSQL in twenty lines: random requests are answered the way the manual says, and the ledger must
    //! find every answer owed and be settled at the end.
    use proptest::prelude::*;

    use super::*;

    fn request() -> impl Strategy<Value = (Owed, bool)> {
        let owed = prop_oneof![
            Just(Owed::Parse),
            Just(Owed::Bind),
            Just(Owed::DescribeStatement),
            Just(Owed::DescribePortal),
            Just(Owed::Execute),
            Just(Owed::Close),
            Just(Owed::Sync),
            Just(Owed::Query),
            Just(Owed::FunctionCall),
        ];
        (owed, prop::bool::weighted(0.1))
    }

    fn answers(requests: &[(Owed, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut skipping = false;
        for &(owed, fails) in requests {
            if skipping && owed != Owed::Sync {
                continue;
            }
            let whole: &[u8] = match owed {
                Owed::Parse => b"1",
                Owed::Bind => b"2",
                Owed::DescribeStatement => b"tT",
                Owed::DescribePortal => b"n",
                Owed::Execute => b"DDC",
                Owed::Close => b"3",
                Owed::Sync => b"Z",
                Owed::Query => b"TDCIZ",
                Owed::FunctionCall => b"VZ",
                Owed::CopyEnd => b"",
            };
            match owed {
                Owed::Sync => skipping = false,
                Owed::Query | Owed::FunctionCall => {}
                _ => skipping = fails,
            }
            match (fails, owed) {
                (true, Owed::Sync | Owed::Query | Owed::FunctionCall) => out.extend_from_slice(b"EZ"),
                (true, _) => out.push(b'E'),
                (false, _) => out.extend_from_slice(whole),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn however_much_of_its_syncs_a_copy_reads_before_it_fails_the_next_answers_find_their_requests(
            copies in prop::collection::vec((any::<bool>(), 0..3_usize, 0..4_usize, any::<bool>()), 1..5)
        ) {
            let mut ledger = Ledger::default();
            for (simple, syncs, read, ahead) in copies {
                ledger.owe(if simple { Owed::Query } else { Owed::Execute }, Origin::Client);
                for _ in 0..syncs { ledger.owe(Owed::Sync, Origin::Client); }
                if !ahead { receive(&mut ledger, b"G"); }
                ledger.owe(Owed::CopyEnd, Origin::Client);
                if !simple { ledger.owe(Owed::Sync, Origin::Client); }
                ledger.owe(Owed::Query, Origin::Client);
                if ahead { receive(&mut ledger, b"G"); }
                // more than there are: the COPY succeeds
                let (end, unread) = if read > syncs { (b'C', 0) } else { (b'E', syncs - read) };
                let mut readies = 0;
                let own = [usize::from(simple), unread, usize::from(!simple)].iter().sum();
                prop_assert!(ledger.receive(end, b"").is_ok());
                for _ in 0..own {
                    match ledger.receive(b'Z', b"I") {
                        Ok(Verdict::Ready(Owner::Client)) => readies += 1,
                        swallowed => prop_assert_eq!(swallowed, Ok(Verdict::Reply(Owner::Proxy))),
                    }
                }
                prop_assert_eq!(readies, 1);
                prop_assert_eq!(ledger.receive(b'D', b""), Ok(Verdict::Reply(Owner::Client)));
                prop_assert!(ledger.receive(b'C', b"").is_ok());
                prop_assert_eq!(ledger.receive(b'Z', b"I"), Ok(Verdict::Ready(Owner::Client)));
                prop_assert!(ledger.is_settled());
            }
        }

        #[test]
        fn whatever_is_asked_and_however_it_fails_every_answer_finds_its_request(
            mut requests in prop::collection::vec(request(), 0..40), ahead in any::<bool>()
        ) {
            requests.push((Owed::Sync, false));
            let mut ledger = Ledger::default();
            if ahead {
                for &(owed, _) in &requests { ledger.owe(owed, Origin::Client); }
                for tag in answers(&requests) { prop_assert!(ledger.receive(tag, b"I").is_ok()); }
            } else {
                let mut answered = 0;
                for n in 1..=requests.len() {
                    ledger.owe(requests[n - 1].0, Origin::Client);
                    let all = answers(&requests[..n]);
                    for &tag in &all[answered..] { prop_assert!(ledger.receive(tag, b"I").is_ok()); }
                    answered = all.len();
                }
            }
            prop_assert!(ledger.is_settled());
            prop_assert_eq!(ledger.ready_owed(), 0);
        }
    }
}
