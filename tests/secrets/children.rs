//! The programs that the sidecar starts: no secret is in their environment or their arguments that is not theirs.

use std::collections::BTreeSet;
use std::fs;

use super::marks::{Marks, in_url};
use super::serving::{Form, Serving};
use super::support::{Redis, eventually};

#[test]
fn a_program_for_the_password_inherits_the_environment_without_the_secrets_of_the_sidecar() {
    let marks = Marks::new();
    let (redis, folder) = (Redis::start(&[]), tempfile::tempdir().unwrap());
    let password = marks.word("the password");
    redis.set_user("canary", &format!("on >{password} ~* +@all"));
    let file = |name: &str| folder.path().join(name);
    fs::write(file("password"), &password).unwrap();
    let script = format!(
        "cd {}\ncat /proc/$$/environ >environ\ncat /proc/$$/cmdline >cmdline\ncat password\n",
        folder.path().display()
    );
    fs::write(file("script"), script).unwrap();
    let secret = |name: &str| (name.to_owned(), in_url(&marks.secret(name)));
    let url =
        |name: &str| (name.to_owned(), format!("redis://app:{}@127.0.0.1:1", in_url(&marks.secret(name))));
    let environment = vec![
        url("CACHE_URL_SESSIONS"),
        url("CACHE_CANARY_CACHES__OTHER__URL"),
        ("CACHE_CANARY_ACCESS__TOKEN".to_owned(), marks.word("the token")),
        url("REDIS_URL"),
        url("MEMCACHED_URL"),
        secret("MEMCACHIER_PASSWORD"),
        secret("SPRING_DATA_REDIS_PASSWORD"),
        secret("PASSWORD_OF_SENTINELS"),
        secret("PASSWORD_OF_A_URL"),
        url("WHOLE_URL"),
        ("REDIS_HOST".to_owned(), redis.addr().to_string()),
        ("VAULT_TOKEN".to_owned(), "for-the-program".to_owned()),
        ("HOME".to_owned(), "/home/of-the-program".to_owned()),
    ];
    let config = format!(
        "max_age = \"0s\"\n[caches.main]\nurl = \"redis://canary@${{REDIS_HOST}}\"\npassword_command = [\"/bin/sh\", \"{}\"]\n\
         [caches.sentinels]\nurl = \"redis+sentinel://127.0.0.1:1/main\"\nsentinel_password = \"${{PASSWORD_OF_SENTINELS}}\"\n\
         [caches.referred]\nurl = \"redis://app:${{PASSWORD_OF_A_URL}}@127.0.0.1:1\"\n\
         [caches.whole]\nreplicas = [\"${{WHOLE_URL:-redis://nowhere.invalid}}\"]\nurl = \"redis://127.0.0.1:1\"\n",
        file("script").display()
    );
    let serving = Serving::start(&config, "debug", Form::Plain, &environment);
    eventually("the program's password is let in", || {
        serving.get("/health/main", "").starts_with(b"HTTP/1.1 200")
    });
    let [inherited, arguments] = ["environ", "cmdline"].map(|name| fs::read(file(name)).unwrap());
    let variables = String::from_utf8(inherited.clone()).unwrap();
    for name in ["VAULT_TOKEN=for-the-program", "HOME=/home/of-the-program", "REDIS_HOST=", "PATH="] {
        assert!(variables.split('\0').any(|variable| variable.starts_with(name)), "{name}: {variables:?}");
    }
    let search = marks.search();
    assert_eq!(search.leaks(&inherited), BTreeSet::new(), "{variables:?}");
    assert_eq!(search.leaks(&arguments), BTreeSet::new());
    // The search finds them where they are.
    let all: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert!(search.leaks(all.join("\0").as_bytes()).len() >= 10);
}
