//! The users that `cache-canary acl` prints, and the servers that have them.

use super::{Redis, RedisServer, run};

/// The password that a test's configuration has for them, which is never printed.
pub const PASSWORD: &str = "s3cret";

/// A user that was printed.
#[derive(Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    rules: Vec<String>,
}

/// The output for a valid configuration.
pub fn printed(config: &str) -> String {
    let output = run(&["acl"], config);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(!text.contains(PASSWORD), "{text}");
    text
}

/// The users that are printed for a configuration, which are so many.
pub fn printed_users<const COUNT: usize>(config: &str) -> [User; COUNT] {
    let text = printed(config);
    let mut users: Vec<User> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" resetdbs ") {
            Some((_, rule)) if knows_databases() => {
                let databases = ["resetdbs", rule].map(str::to_owned);
                users.last_mut().expect("a user before its databases").rules.extend(databases);
            }
            Some(_) => {}
            None => users.push(User::read(line)),
        }
    }
    users.try_into().unwrap_or_else(|_| panic!("not {COUNT} users: {text}"))
}

/// `true` if the server of this run limits users to databases.
pub fn knows_databases() -> bool {
    RedisServer::of_this_run() == RedisServer::Valkey9
}

impl User {
    fn read(line: &str) -> Self {
        let words = words(line);
        let [acl, setuser, name, on, rules @ ..] = &words[..] else { panic!("no command: {line}") };
        assert_eq!((acl.as_str(), setuser.as_str(), on.as_str()), ("ACL", "SETUSER", "on"));
        Self { name: name.clone(), rules: rules.to_vec() }
    }

    /// How many commands it may give.
    pub fn commands(&self) -> usize {
        self.rules.iter().filter(|rule| rule.starts_with('+')).count()
    }

    /// The rules with the password among them, and without these, each of which must be there.
    pub fn rules(&self, without: &[&str]) -> Vec<&str> {
        for rule in without {
            assert!(self.rules.iter().any(|own| own == rule), "{:?} were to have {rule}", self.rules);
        }
        let rules = self.rules.iter().map(String::as_str).filter(|rule| !without.contains(rule));
        ["on", ">s3cret"].into_iter().chain(rules).collect()
    }

    /// Makes it on a server, without these rules.
    pub fn give(&self, redis: &Redis, without: &[&str]) {
        redis.set_user(&self.name, &self.rules(without).join(" "));
    }
}

/// The words of a command, as redis-cli takes them apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => quoted = !quoted,
            '\\' if quoted => match chars.next() {
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).collect();
                    words.last_mut().unwrap().push(u8::from_str_radix(&digits, 16).unwrap().into());
                }
                char => words.last_mut().unwrap().extend(char),
            },
            ' ' if !quoted => words.push(String::new()),
            char => words.last_mut().unwrap().push(char),
        }
    }
    words
}
