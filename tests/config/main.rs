//! Each file in `tests/config/invalid` is a configuration with something wrong, and beside it stands the
//! exact message; each in `tests/config/valid` has beside it what `config check` and `config show` print.
//!
//! `NAME.toml` is the config file, `NAME.env` the environment (`KEY=value` lines), and `NAME.json` Django's
//! `CACHES`, which the environment names if no config file does. `UPDATE=1` rewrites the texts.

#![expect(clippy::expect_used, clippy::panic, reason = "what helps a test fails as a test does")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache_canary::cli;
use cache_canary::config::checks::CheckConfig;
use cache_canary::config::{
    self, Backend, CacheConfig, Listen, Loaded, Origin, Password, RedisConfig, RedisServers, Secret, Source,
};
use cache_canary::outcome::{Forwarding, LoginSource, SkipReason};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

mod fingerprint;
#[expect(unreachable_pub, reason = "it is shared with the other helpers")]
#[path = "../support/python.rs"]
mod python;
mod schema;
mod secrets;

/// The names of the cases in a folder, and those of the expected texts.
fn cases(folder: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut cases, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry of it").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml" | "env" | "json") => cases.insert(name),
            Some("txt") => texts.insert(name),
            // Secrets and certificates that cases name.
            _ => continue,
        };
    }
    (cases, texts)
}

fn source(folder: &Path, name: &str) -> Source {
    let existing = |extension: &str| {
        let path = folder.join(format!("{name}.{extension}"));
        path.exists().then_some(path)
    };
    let mut environment = BTreeMap::from([("HOSTNAME".to_owned(), "sidecar-1".to_owned())]);
    if let Some(path) = existing("env") {
        let text = fs::read_to_string(path).expect("the environment");
        for line in text.lines() {
            let (key, value) = line.split_once('=').expect("KEY=value");
            environment.insert(key.to_owned(), value.to_owned());
        }
    }
    let file = existing("toml");
    if let (None, Some(json)) = (&file, existing("json")) {
        environment.insert("CACHE_CANARY_DJANGO_CACHES".to_owned(), json.to_str().expect("UTF-8").to_owned());
    }
    Source { file, listen: Vec::new(), environment }
}

fn compare(folder: &str, print: impl Fn(&str, &Source) -> String) {
    let folder = PathBuf::from("tests/config").join(folder);
    let (cases, texts) = cases(&folder);
    let update = std::env::var_os("UPDATE").is_some();
    let mut differing = Vec::new();
    for name in &cases {
        let printed = print(name, &source(&folder, name));
        let path = folder.join(format!("{name}.txt"));
        if update {
            fs::write(&path, &printed).expect("the expected text is written");
        } else if fs::read_to_string(&path).ok().as_ref() != Some(&printed) {
            differing.push(format!("{}:\n{printed}", path.display()));
        }
    }
    assert!(cases.len() > 10, "the cases are there");
    let orphans: Vec<_> = texts.difference(&cases).collect();
    assert!(orphans.is_empty(), "texts without a case: {orphans:?}");
    assert!(differing.is_empty(), "UPDATE=1 writes these anew:\n\n{}", differing.join("\n"));
}

#[test]
fn each_invalid_configuration_has_its_exact_message() {
    compare("invalid", |_, source| match config::load(source) {
        Ok(_) => panic!("no error for {:?} {:?}", source.file, source.environment),
        Err(error) => format!("{error}\n"),
    });
}

/// The case that shows every default; a new one changes it alone.
const ALL_DEFAULTS: &str = "all_defaults";

/// The lines of `config show` that do not come from a default, under the headers of their tables.
fn settings_without_a_default(shown: &str) -> String {
    let said = |line: &&str| !line.ends_with("  # default");
    let narrow = |line: &str| match line.rsplit_once("  # ") {
        Some((setting, origin)) => format!("{}  # {origin}\n", setting.trim_end()),
        None => format!("{line}\n"),
    };
    let tables = shown.split("\n\n").map(|table| table.lines().filter(said).map(narrow).collect::<String>());
    tables.filter(|table| table.contains("  # ")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_valid_configuration_means_the_file_beside_it() {
    compare("valid", |name, source| match config::load(source) {
        Ok(loaded) => {
            let mut out = Vec::new();
            cli::config::check(&loaded, &mut out).expect("written to memory");
            let shown = show(&loaded);
            let shown = if name == ALL_DEFAULTS { shown } else { settings_without_a_default(&shown) };
            format!("{}\n{shown}", String::from_utf8(out).expect("UTF-8"))
        }
        Err(error) => panic!("{error}"),
    });
}

/// A configuration from the environment alone.
fn environment(variables: &[(&str, &str)]) -> Source {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Source { environment: variables.iter().map(own).collect(), ..Source::default() }
}

fn show(loaded: &Loaded) -> String {
    let mut out = Vec::new();
    cli::config::show(loaded, &mut out).expect("written to memory");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn flags_win_over_the_environment_and_it_over_the_file_and_that_over_defaults() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("canary.toml");
    fs::write(&file, "listen = \"127.0.0.1:1\"\ntimeout = \"1s\"\n[caches.main]\nurl = \"redis://cache\"")
        .expect("the file is written");
    let listens = |source: &Source| {
        let loaded = config::load(source).expect("a valid configuration");
        (loaded.config.listen.clone(), loaded.origin("listen").to_string())
    };
    let tcp = |address: &str| vec![Listen::Tcp(address.parse().expect("an address"))];

    let mut source = environment(&[("CACHE_URL", "redis://cache")]);
    assert_eq!(listens(&source), (tcp("[::]:8080"), "default".to_owned()));
    source.file = Some(file.clone());
    assert_eq!(listens(&source), (tcp("127.0.0.1:1"), format!("{}:1", file.display())));
    source.environment.insert("CACHE_CANARY_LISTEN".to_owned(), "127.0.0.1:2".to_owned());
    assert_eq!(listens(&source), (tcp("127.0.0.1:2"), "CACHE_CANARY_LISTEN".to_owned()));
    source.listen = vec!["127.0.0.1:3".to_owned()];
    assert_eq!(listens(&source), (tcp("127.0.0.1:3"), "--listen".to_owned()));
    assert_eq!(config::load(&source).expect("valid").config.timeout, Duration::from_secs(1));
}

#[test]
fn the_flag_for_the_file_wins_over_its_variable() {
    let mut source = environment(&[("CACHE_CANARY_CONFIG", "tests/config/valid/order_of_the_file.toml")]);
    assert_eq!(config::load(&source).expect("valid").config.caches.len(), 3);
    source.file = Some(PathBuf::from("tests/config/valid/a_cache_called_forwarded_backend.toml"));
    assert_eq!(config::load(&source).expect("valid").config.caches.len(), 1);
}

#[test]
fn a_flag_that_is_no_address_is_named() {
    let mut source = environment(&[("CACHE_URL", "redis://cache")]);
    source.listen = vec!["127.0.0.1:8080".to_owned(), "8081".to_owned()];
    let error = config::load(&source).expect_err("8081 is no address").to_string();
    assert!(error.starts_with("--listen: not an address to listen on"), "{error}");
}

#[test]
fn the_instance_is_the_host_name_unless_a_variable_sets_it() {
    let from_system = config::load(&environment(&[("CACHE_URL", "redis://cache")])).expect("valid");
    assert!(!from_system.config.instance.is_empty());
    assert_eq!(from_system.origin("instance"), &Origin::HostName);
    let source = environment(&[("CACHE_URL", "redis://cache"), ("HOSTNAME", "web-1")]);
    assert_eq!(config::load(&source).expect("valid").config.instance, "web-1");
}

#[test]
fn passwords_are_read_as_they_were_meant() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("the file is written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let password = |variables: &[(&str, &str)]| {
        let mut loaded = config::load(&environment(variables)).expect("a valid configuration");
        let Backend::Redis(redis) = loaded.config.caches.remove(0).backend else { panic!("no Redis") };
        fixed(redis.login.password).map(|password| password.expose_secret().to_owned())
    };
    let given = |name: &str, value: &str| password(&[("CACHE_URL", "redis://h"), (name, value)]);
    let in_file = |text: &str| given("CACHE_CANARY_CACHES__DEFAULT__PASSWORD_FILE", &file("password", text));

    assert_eq!(password(&[("CACHE_URL", "redis://h")]), None);
    assert_eq!(password(&[("CACHE_URL", "redis://:@h")]), None);
    assert_eq!(password(&[("CACHE_URL", "redis://u:p%25%2f%3A+@h")]).as_deref(), Some("p%/:+"));
    assert_eq!(password(&[("CACHE_URL", "redis://:100%sure@h")]).as_deref(), Some("100%sure"));
    assert_eq!(password(&[("CACHE_URL", "unix:///s?password=a%26b+c")]).as_deref(), Some("a&b c"));
    assert_eq!(given("CACHE_CANARY_CACHES__DEFAULT__PASSWORD", "${X}$$").as_deref(), Some("${X}$$"));
    assert_eq!(in_file("plain").as_deref(), Some("plain"));
    assert_eq!(in_file("one newline\n").as_deref(), Some("one newline"));
    assert_eq!(in_file("two newlines\n\n").as_deref(), Some("two newlines\n"));
    assert_eq!(in_file("of Windows\r\n").as_deref(), Some("of Windows"));
    // White space at the ends of a variable is dropped: a secret that `echo` made ends in a newline.
    assert_eq!(password(&[("CACHE_URL", " redis://u:in%20env@h/0\r\n")]).as_deref(), Some("in env"));
    assert_eq!(given("CACHE_CANARY_CACHES__DEFAULT__PASSWORD", "of echo\n").as_deref(), Some("of echo"));
    let url = file("url", "redis://u:in%20file@h\n");
    assert_eq!(password(&[("CACHE_URL_FILE", &url)]).as_deref(), Some("in file"));
}

/// The text of a password that is configured as one.
fn fixed(password: Option<Password>) -> Option<Secret> {
    match password? {
        Password::Fixed(secret) => Some(secret),
        Password::ShortLived(source) => panic!("no text: {source:?}"),
    }
}

#[test]
fn passwords_of_sentinels_and_memcached_are_read_as_they_were_meant() {
    let password = |variables: &[(&str, &str)]| {
        let mut loaded = config::load(&environment(variables)).expect("a valid configuration");
        let password = match loaded.config.caches.remove(0).backend {
            Backend::Redis(RedisConfig { servers: RedisServers::Sentinel { login, .. }, .. }) => {
                fixed(login.password)
            }
            Backend::Memcached(memcached) => memcached.login.map(|(_, password)| password),
            other => panic!("neither Sentinels nor memcached: {other:?}"),
        };
        password.map(|password| password.expose_secret().to_owned())
    };
    let sentinels = ("CACHE_URL", "redis+sentinel://app:the-servers@s1,s2/mymaster");
    let file = "tests/config/valid/password.secret";
    let in_file = fs::read_to_string(file).expect("the password").trim_end().to_owned();
    assert_eq!(password(&[sentinels]), None);
    let given = |name: &str, value: &str| password(&[sentinels, (name, value)]);
    assert_eq!(given("CACHE_CANARY_CACHES__DEFAULT__SENTINEL_PASSWORD", "a:b").as_deref(), Some("a:b"));
    assert_eq!(given("CACHE_CANARY_CACHES__DEFAULT__SENTINEL_PASSWORD_FILE", file), Some(in_file.clone()));

    let memcached = |url: &str| password(&[("CACHE_URL", url)]);
    assert_eq!(memcached("memcached://mc-1"), None);
    assert_eq!(memcached("memcached://app:p%25%2f:+,@mc-1,mc-2").as_deref(), Some("p%/:+,"));
    let user = ("CACHE_CANARY_CACHES__DEFAULT__USERNAME", "app");
    let password_file = ("CACHE_CANARY_CACHES__DEFAULT__PASSWORD_FILE", file);
    assert_eq!(password(&[("CACHE_URL", "memcached://mc-1"), user, password_file]), Some(in_file));
}

/// The texts by which clients place the shards of these caches and of their views.
fn hashed(caches: &[CacheConfig]) -> Vec<String> {
    let views = |check: &CheckConfig| match check {
        CheckConfig::Visibility(visibility) => {
            visibility.views.iter().map(|view| view.backend.clone()).collect()
        }
        CheckConfig::Queue(_)
        | CheckConfig::Clock(_)
        | CheckConfig::Efficiency(_)
        | CheckConfig::Identity(_)
        | CheckConfig::Policy(_) => Vec::new(),
    };
    let backends = caches.iter().flat_map(|cache| {
        std::iter::once(cache.backend.clone()).chain(cache.checks.iter().flat_map(views)).collect::<Vec<_>>()
    });
    let sharded = backends.filter_map(|backend| match backend {
        Backend::Redis(RedisConfig {
            servers: RedisServers::Shards { sharding: Some(sharding), .. },
            ..
        }) => Some(sharding.hashed),
        _ => None,
    });
    sharded.flatten().map(|text| text.expose_secret().to_owned()).collect()
}

#[test]
fn a_shown_configuration_can_be_loaded_and_means_the_same() {
    let folder = PathBuf::from("tests/config/valid");
    for name in cases(&folder).0 {
        let first = config::load(&source(&folder, &name)).expect("a valid configuration");
        let copy = TempDir::new().expect("a temporary folder");
        let file = copy.path().join("copy.toml");
        // Unlike a password, a token is never as short as what stands in its place.
        let shown = show(&first).replace("token = \"***\"", "token = \"0123456789abcdef\"");
        fs::write(&file, &shown).expect("the copy is written");
        let again = config::load(&Source { file: Some(file), ..Source::default() })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        if !shown.contains("read again, they give another ring") {
            assert_eq!(hashed(&again.config.caches), hashed(&first.config.caches), "{name}");
        }
        // An alias without a server is a comment there, and so is one of an unknown backend, one that forwards to it, and a use
        // that a preset implies.
        // The application's own ways to a password are not shown.
        let mut first = first.config;
        let lost =
            |reason: &SkipReason| matches!(reason, SkipReason::NoServer { .. } | SkipReason::Unknown { .. });
        let is_lost =
            |cache: &CacheConfig| matches!(&cache.backend, Backend::Unchecked(reason) if lost(reason));
        let names = |caches: &[CacheConfig]| -> BTreeSet<String> {
            caches.iter().filter(|cache| is_lost(cache)).map(|cache| cache.alias.to_string()).collect()
        };
        let lost_names = names(&first.caches);
        let has_server = |reason: &SkipReason| match reason {
            SkipReason::Forwards(Forwarding { end, .. }) => !lost_names.contains(end.as_str()),
            reason => !lost(reason),
        };
        let hidden: BTreeSet<String> = first
            .caches
            .iter()
            .filter(|cache| matches!(&cache.backend, Backend::Unchecked(reason) if !has_server(reason)))
            .map(|cache| cache.alias.to_string())
            .collect();
        for cache in &mut first.caches {
            if let Backend::Redis(redis) = &mut cache.backend {
                redis.login_source = LoginSource::default();
            }
            let is_implied =
                |check: &CheckConfig| matches!(check, CheckConfig::Policy(policy) if policy.is_implied);
            cache.checks.retain(|check| !is_implied(check));
        }
        for group in &mut first.groups {
            group.skipped.retain(|skipped| has_server(&skipped.reason));
            group.exclude.retain(|word| !hidden.contains(word));
            if let Some(include) = &mut group.include {
                include.retain(|word| !hidden.contains(word));
            }
        }
        // Caches of targets are shown as caches.
        first.targets = None;
        // What other shards have is not shown.
        if let Some(shard) = &first.shard {
            for group in &mut first.groups {
                let words = group.include.iter_mut().chain([&mut group.exclude]);
                words.for_each(|words| words.retain(|word| shard.elsewhere(word).is_none()));
            }
            first.shard.clone_from(&again.config.shard);
        }
        first.caches.retain(|cache| match &cache.backend {
            Backend::Redis(_) | Backend::Memcached(_) => true,
            Backend::Unchecked(reason) => has_server(reason),
        });
        assert_eq!(format!("{:?}", again.config), format!("{first:?}"), "{name}");
    }
}

#[test]
fn the_path_of_a_file_is_shown_as_it_is_from_anywhere() {
    let folder = std::env::current_dir().expect("the folder of the tests");
    let source = environment(&[
        ("CACHE_URL", "rediss://cache"),
        ("CACHE_CANARY_TLS__CERT_FILE", "own/tls.crt"),
        ("CACHE_CANARY_TLS__KEY_FILE", "/run/tls.key"),
        ("CACHE_CANARY_CACHES__DEFAULT__TLS__CA_FILE", "ca.pem"),
    ]);
    let shown = show(&config::load(&source).expect("a valid environment"));
    for setting in [
        format!("cert_file = \"{}/own/tls.crt\"", folder.display()),
        "key_file = \"/run/tls.key\"".to_owned(),
        format!("ca_file = \"{}/ca.pem\"", folder.display()),
    ] {
        assert!(shown.contains(&setting), "{setting}:\n{shown}");
    }
}

#[test]
fn an_unknown_key_is_reported_with_the_likely_one() {
    for (written, meant) in [
        ("URL", "url"),
        ("pasword", "password"),
        ("databse", "database"),
        ("server", "servers"),
        ("replica", "replicas"),
        ("quorom", "quorum"),
        ("sentinel_pasword", "sentinel_password"),
    ] {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("canary.toml");
        fs::write(&file, format!("[caches.main]\n{written} = 1")).expect("the file is written");
        let source = Source { file: Some(file), ..Source::default() };
        let error = config::load(&source).expect_err("an unknown key").to_string();
        assert!(error.contains(&format!("unknown key `{written}`; did you mean `{meant}`?")), "{error}");
    }
}

#[test]
fn limits_themselves_are_allowed_and_values_past_them_are_not() {
    let (longest_prefix, longest_instance) = ("p".repeat(64), "i".repeat(128));
    let allowed = [
        ("CACHE_CANARY_TIMEOUT", "1ms"),
        ("CACHE_CANARY_TIMEOUT", "10m"),
        ("CACHE_CANARY_MAX_AGE", "0s"),
        ("CACHE_CANARY_MAX_AGE", "60s"),
        ("CACHE_CANARY_RECONNECT_EVERY", "0s"),
        ("CACHE_CANARY_RECONNECT_EVERY", "1h"),
        ("CACHE_CANARY_DNS_RECHECK", "0s"),
        ("CACHE_CANARY_DNS_RECHECK", "1h"),
        ("CACHE_CANARY_INTERVAL", "0s"),
        ("CACHE_CANARY_INTERVAL", "1s"),
        ("CACHE_CANARY_INTERVAL", "1h"),
        ("CACHE_CANARY_DRAIN", "0s"),
        ("CACHE_CANARY_DRAIN", "10m"),
        ("CACHE_CANARY_ACCESS__TOKEN", "!~~~~~~~~~~~~~~~"),
        ("CACHE_CANARY_CACHES__DEFAULT__SPRAY", "1"),
        ("CACHE_CANARY_CACHES__DEFAULT__SPRAY", "1024"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__HIT_RATIO__DOWN", "1"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__HIT_RATIO__DOWN", "0.001"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__EVICTIONS_PER_SECOND__DOWN", "1e9"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__QUEUE__KEYS", "b:{0..9999}"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__QUEUE__KEYS", "b:{4294967295..4294967295}"),
        ("CACHE_CANARY_PREFIX", "!~"),
        ("CACHE_CANARY_PREFIX", &longest_prefix),
        ("CACHE_CANARY_INSTANCE", "aZ09_.:-"),
        ("CACHE_CANARY_INSTANCE", &longest_instance),
    ];
    let too_long = (format!("{longest_prefix}p"), format!("{longest_instance}i"));
    let refused = [
        ("CACHE_CANARY_TIMEOUT", "999us"),
        ("CACHE_CANARY_TIMEOUT", "10m 1ms"),
        ("CACHE_CANARY_MAX_AGE", "60001ms"),
        ("CACHE_CANARY_RECONNECT_EVERY", "3601s"),
        ("CACHE_CANARY_RECONNECT_EVERY", "-1s"),
        ("CACHE_CANARY_DNS_RECHECK", "3601s"),
        ("CACHE_CANARY_INTERVAL", "1ns"),
        ("CACHE_CANARY_INTERVAL", "999ms"),
        ("CACHE_CANARY_INTERVAL", "3601s"),
        ("CACHE_CANARY_DRAIN", "601s"),
        ("CACHE_CANARY_ACCESS__TOKEN", "!~~~~~~~~~~~~~~"),
        ("CACHE_CANARY_ACCESS__TOKEN", "!~~~~~~~~~~~~~~~\u{e9}"),
        ("CACHE_CANARY_CACHES__DEFAULT__SPRAY", "0"),
        ("CACHE_CANARY_CACHES__DEFAULT__SPRAY", "1025"),
        ("CACHE_CANARY_CACHES__DEFAULT__SPRAY", "2.5"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__HIT_RATIO__DOWN", "1.001"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__HIT_RATIO__DOWN", "0"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__EFFICIENCY__HIT_RATIO__DOWN", "nan"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__QUEUE__KEYS", "b:{0..10000}"),
        ("CACHE_CANARY_CACHES__DEFAULT__CHECKS__QUEUE__KEYS", "b:{4294967295..4294967296}"),
        ("CACHE_CANARY_PREFIX", "a\u{7f}"),
        ("CACHE_CANARY_PREFIX", "\u{e9}"),
        ("CACHE_CANARY_PREFIX", &too_long.0),
        ("CACHE_CANARY_INSTANCE", "a/b"),
        ("CACHE_CANARY_INSTANCE", &too_long.1),
    ];
    for variable in allowed {
        config::load(&environment(&[("CACHE_URL", "redis://cache"), variable]))
            .unwrap_or_else(|error| panic!("{variable:?}: {error}"));
    }
    for variable in refused {
        let error =
            config::load(&environment(&[("CACHE_URL", "redis://cache"), variable])).expect_err("refused");
        assert!(error.to_string().starts_with(&format!("{}: ", variable.0)), "{error}");
    }
}

#[test]
fn a_password_of_a_variable_holds_no_label_and_a_label_no_variable() {
    let loaded = config::load(&source(Path::new("tests/config/valid"), "targets")).expect("valid");
    let passwords = loaded.config.caches.into_iter().filter_map(|cache| match cache.backend {
        Backend::Redis(redis) => fixed(redis.login.password),
        _ => None,
    });
    let passwords: Vec<_> = passwords.map(|password| password.expose_secret().to_owned()).collect();
    assert_eq!(passwords, ["ses{team}ame"; 3]);

    let folder = TempDir::new().expect("a temporary folder");
    let list = "[{\"targets\": [\"redis://h\"], \"labels\": {\"alias\": \"main\", \"user\": \"${SECRET}\"}}]";
    fs::write(folder.path().join("targets.json"), list).expect("the list is written");
    let file = folder.path().join("canary.toml");
    let template =
        "targets.file = \"targets.json\"\ntargets.cache = { username = \"{user}\", password = \"p\" }";
    fs::write(&file, template).expect("the file is written");
    let environment = BTreeMap::from([("SECRET".to_owned(), "sesame".to_owned())]);
    let loaded = config::load(&Source { file: Some(file), environment, ..Source::default() }).expect("valid");
    let Backend::Redis(redis) = &loaded.config.caches[0].backend else { panic!("no Redis") };
    assert_eq!(redis.login.username.as_deref(), Some("${SECRET}"));
}
