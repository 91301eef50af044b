//! How often the isolates of one project that serve by leases come before each other, on a real server and in real time:
//! each is a thread here, with a holder, a process's questions and connections of its own.

use std::thread;

use shared::lease::{Answer, Holder};

use super::clock::Stopwatch;
use super::*;

const ISOLATES: u32 = 20;
/// Requests of each in a second.
const RATE: u64 = 250;
const LENGTH_MS: u64 = 10_000;
/// How often the aggregator looks after the home, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// Three seconds of all requests.
const ESCROW: u64 = 3 * RATE * 20;

#[derive(Debug, Default)]
struct Came {
    served: u64,
    refused: u64,
    counts: queue::Counts,
}

fn serve(server: &Server_, number: u32, began: Stopwatch) -> Came {
    let questions = Questions::default();
    let mut holder = Holder::new(HolderId::from_bits(u128::from(number) + 1), u64::from(number));
    let ask = ask_for_one();
    let (mut came, mut asked, mut waiting, mut trips) = (Came::default(), 0, Vec::new(), 0);
    loop {
        let elapsed_ms = began.elapsed_ms();
        let now = now().plus_ms(elapsed_ms);
        if elapsed_ms >= LENGTH_MS {
            came.counts = questions.borrow().counts;
            return came;
        }
        let mut answers = Vec::new();
        while asked < (elapsed_ms * RATE).div_euclid(1_000) {
            asked += 1;
            answers.push(holder.decide(now, &ask));
        }
        let waited: Vec<_> = std::mem::take(&mut waiting);
        answers.extend(waited.into_iter().map(|id| holder.outcome(now, id)));
        for answer in answers {
            match answer {
                Answer::Allow => came.served += 1,
                Answer::Wait(id) => waiting.push(id),
                Answer::Deny { .. } | Answer::AtHome | Answer::Unavailable => came.refused += 1,
            }
        }
        for contact in holder.contacts(now) {
            trips += 4;
            let process = (server.clone(), Questions::clone(&questions));
            let asking = Asking::of(process, home(), super::asked(contact), now);
            let mut trip = asking.trip(&[number, 2, 3, 4].map(|word| trips + word), now.as_ms());
            assert_eq!(travels(&mut trip, now), Ok(DONE));
            if let Some(reply) = answered(&asking)
                && let ContactReply::Reply(reply) = json::read(&reply).unwrap()
            {
                holder.receive(now, *reply);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Brings what was counted into the books, and says so, as the aggregator does.
fn look_after(stream: &mut TcpStream, now: Timestamp, number: u64) {
    let fresh = || panic!("the home is there");
    for turn in 0.. {
        let snapshot = rows(stream);
        let seen = snapshot.seen();
        let mut copy = Copy::read(snapshot.stored, fresh, now).unwrap();
        let (round, commit) = copy.act(|home| home.flush(now));
        let Some(round) = round else { return };
        let writes = |stream: &mut TcpStream, commit: &Commit, what: &str| {
            let nonce = format!("look-{number}-{turn}-{what}");
            let answers = tells(stream, &[write(&home(), &seen, commit, &nonce)]);
            matches!(Told::read(answers[0].clone()), Ok(Told::Written(_)))
        };
        if !writes(stream, &commit, "flush") {
            continue;
        }
        for turn in 0.. {
            copy.reread(rows(stream).stored, fresh, now).unwrap();
            let ((), commit) = copy.act(|home| home.flushed(now, round.seq));
            if writes(stream, &commit, &format!("ack-{turn}")) {
                return;
            }
        }
    }
}

#[test]
#[ignore = "measures in real time, for which the machine must have nothing else to do"]
fn twenty_isolates_of_one_project_seldom_come_before_each_other() {
    let server = Server::start("crowded");
    let leases = LeaseRules { escrow: Some(Units::new(ESCROW)), ..LeaseRules::default() };
    let wide = Policy { rpm: 1_000_000, ..test_policy::policy(now(), 1_000_000_000, leases) };
    register_with(server.redis.address(), "inc00001", (0, 0), &wide);
    let began = Stopwatch::start();
    let came = thread::scope(|scope| {
        let isolates: Vec<_> = (0..ISOLATES)
            .map(|number| {
                let server = Server_::of(&server.redis);
                scope.spawn(move || serve(&server, number, began))
            })
            .collect();
        let mut stream = TcpStream::connect(server.redis.address()).unwrap();
        for number in 1..LENGTH_MS.div_euclid(LOOK_MS) {
            thread::sleep(Duration::from_millis((number * LOOK_MS).saturating_sub(began.elapsed_ms())));
            look_after(&mut stream, now().plus_ms(number * LOOK_MS), number);
        }
        isolates.into_iter().map(|isolate| isolate.join().unwrap()).fold(Came::default(), |sum, one| Came {
            served: sum.served + one.served,
            refused: sum.refused + one.refused,
            counts: queue::Counts {
                trips: sum.counts.trips + one.counts.trips,
                conflicts: sum.counts.conflicts + one.counts.conflicts,
                questions: sum.counts.questions + one.counts.questions,
            },
        })
    });
    eprintln!("{came:?} in {LENGTH_MS} ms");
    assert!(came.served > (u64::from(ISOLATES) * RATE * LENGTH_MS).div_euclid(2_000), "{came:?}");
    assert!(came.refused == 0 && came.counts.conflicts < came.counts.questions, "{came:?}");
}
