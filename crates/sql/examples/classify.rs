//! Classifies a text so many times, for `valgrind --tool=callgrind`, which counts instructions and so is not disturbed by what else
//! runs: `classify 1000 'SELECT 1'`, less what `classify 0 'SELECT 1'` takes.

use std::hint::black_box;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let times = arguments.next().and_then(|times| times.parse::<u32>().ok());
    let (Some(times), Some(text)) = (times, arguments.next()) else {
        eprintln!("usage: classify TIMES TEXT");
        std::process::exit(2);
    };
    for _ in 0..times {
        black_box(sql::classify(black_box(text.as_bytes()), black_box(&sql::NoFunctions)));
    }
    println!("{:?}", sql::classify(text.as_bytes(), &sql::NoFunctions));
}
