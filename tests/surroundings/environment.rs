//! Standard streams, variables and a working directory as careless supervisors leave them.

use crate::support::{Redis, alone};
use crate::{Surrounded, after, cache};

const SURROUNDINGS: [(&str, &str); 11] = [
    ("all standard streams are closed", "exec <&- >&- 2>&-"),
    ("standard output is full", "exec >/dev/full"),
    ("standard output and standard error are full", "exec >/dev/full 2>/dev/full"),
    ("there is no environment", "exec env -i \"$0\" \"$@\""),
    ("HOME and PATH are not set", "unset HOME PATH USER"),
    ("HOME is a file", "export HOME=/etc/passwd"),
    ("the time zone is unknown", "export TZ=Nowhere/Atlantis"),
    ("the time zone is no text", "export TZ=$(printf '\\377\\376')"),
    ("the locale does not exist", "export LANG=xx_YY.UTF-8 LC_ALL=xx_YY"),
    ("the working directory is gone", "cd \"$(mktemp -d)\" && rmdir \"$PWD\""),
    ("no new file can be read by anybody", "umask 777"),
];

#[test]
fn careless_supervisors_take_no_verdict_away() {
    let _turn = alone();
    let mut redis = Redis::start(&[]);
    for (what, words) in SURROUNDINGS {
        println!("{what}");
        let surrounded = Surrounded::start(after(words), "", &cache("main", &redis));
        surrounded.expect_an_outage_to_be_seen(&mut redis);
        // Times of the log are in UTC, whatever the time zone.
        let log = surrounded.log();
        let is_plain = |line: &str| line.is_ascii() && line[..27].ends_with('Z');
        assert!(log.lines().all(is_plain), "{log}");
        assert_eq!(log.is_empty(), words.contains(" 2>"), "{log}");
        surrounded.expect_a_clean_end();
    }
}
