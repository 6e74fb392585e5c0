//! Certificates of kinds that OpenSSL takes: each is taken, or refused in words that name the cure.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use crate::support::openssl::{OpenSsl, RSA};
use crate::support::{Authority, Identity, Memcached, Redis, Sidecar, eventually, run};

const SAN: &str = "subjectAltName=DNS:localhost";

/// The alias `main` at this port of `localhost`, with these TLS settings.
fn main_at(port: u16, tls: &str) -> String {
    format!("[caches.main]\nurl = \"rediss://localhost:{port}\"\ntls = {{ {tls} }}")
}

/// A sidecar that trusts the certificates in the file `trusted` of the folder.
fn trusting(files: &OpenSsl, trusted: &str, redis: &Redis) -> Sidecar {
    let ca_file = files.path(&format!("{trusted}.pem"));
    Sidecar::start(main_at(redis.port(), &format!("ca_file = \"{}\"", ca_file.display())))
}

/// The hint about the first alias.
fn hint(sidecar: &Sidecar) -> String {
    sidecar.health().body["errors"]["cache.main"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_that_openssl_takes_is_taken_and_not_where_its_issuer_is_not_trusted() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    files.self_signed("other", RSA, "-addext subjectAltName=DNS:localhost");
    let issued = |name: &str, extensions: &str| files.issue(name, "ca", RSA, extensions, "");
    files.issue("intermediate", "ca", RSA, "basicConstraints=critical,CA:TRUE", "");
    let below = files.issue("below", "intermediate", RSA, SAN, "");
    let intermediate = files.identity("intermediate");
    let chain =
        Identity::of(below.certificate().to_owned() + intermediate.certificate(), below.key().to_owned());
    for (what, identity, trusted) in [
        (
            "signed with its own key, CA:TRUE",
            files.self_signed("own", RSA, "-addext subjectAltName=DNS:localhost"),
            "own",
        ),
        ("the same with a common name alone", files.self_signed("localhost", RSA, ""), "localhost"),
        ("not signed with its own key, and trusted itself", issued("itself", SAN), "itself"),
        ("of version 1, with a common name alone", issued("v1", ""), "ca"),
        ("of version 1, and trusted itself", files.identity("v1"), "v1"),
        (
            "of an authority's kind",
            issued("ca-leaf", &format!("{SAN}\nbasicConstraints=critical,CA:TRUE")),
            "ca",
        ),
        (
            "critical policies",
            issued("policies", &format!("{SAN}\ncertificatePolicies=critical,1.2.3.4")),
            "ca",
        ),
        ("an intermediate", chain, "ca"),
        ("a key for RSA-PSS alone", files.issue("pss", "ca", "-newkey rsa-pss", SAN, ""), "ca"),
        ("Ed25519", files.issue("ed25519", "ca", "-newkey ed25519", SAN, ""), "ca"),
    ] {
        let redis = Redis::start_tls(&identity, None);
        let health = trusting(&files, trusted, &redis).health();
        assert_eq!(health.body["status"], "UP", "{what}: {:#}", health.body);
        let words = trusting(&files, "other", &redis).expect_down("tls");
        assert!(words.contains("not among") && words.contains("other.pem"), "{what}: {words}");
    }
}

#[test]
fn a_trusted_certificate_still_needs_the_name_the_dates_and_the_purpose() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let own = |name: &str, extensions: &str| files.self_signed(name, RSA, extensions);
    own("elsewhere", "-addext subjectAltName=DNS:elsewhere.example");
    own("client", &format!("-addext {SAN} -addext extendedKeyUsage=clientAuth"));
    files.issue("unknown", "ca", RSA, &format!("{SAN}\n1.2.3.4.5=critical,ASN1:NULL"), "");
    files.issue("expired", "ca", RSA, SAN, "-days -1");
    for (name, said) in [
        ("elsewhere", "not valid for name \"localhost\", only for elsewhere.example"),
        ("client", "lacks serverAuth"),
        ("unknown", "critical extension 1.2.3.4.5"),
        ("expired", "expired at 20"),
    ] {
        let redis = Redis::start_tls(&files.identity(name), None);
        let words = trusting(&files, name, &redis).expect_down("tls");
        assert!(words.contains(said), "{name}: {words}");
    }
}

#[test]
fn without_names_the_issuer_the_dates_and_the_purpose_are_still_verified() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    files.self_signed("other", RSA, "");
    let elsewhere = "subjectAltName=DNS:elsewhere.example";
    let issue =
        |name: &str, extensions: &str, options: &str| files.issue(name, "ca", RSA, extensions, options);
    let right = issue("right", elsewhere, "");
    let ca_file = |verify: &str, trusted: &str| {
        format!("verify = \"{verify}\", ca_file = {:?}", files.path(&format!("{trusted}.pem")))
    };
    let redis = Redis::start_tls(&right, None);
    let at = |tls: &str| Sidecar::start(main_at(redis.port(), tls));
    let sidecar = at(&ca_file("full", "ca"));
    assert!(sidecar.expect_down("tls").contains("only for elsewhere.example"));
    assert!(hint(&sidecar).contains("set tls.verify = \"ca\""), "{}", hint(&sidecar));
    at(&ca_file("ca", "ca")).expect_up();
    // The certificate itself, and a host that no certificate can have.
    at(&ca_file("ca", "right")).expect_up();
    let odd = main_at(redis.port(), &ca_file("ca", "ca")).replace("localhost", "127.1");
    Sidecar::start(odd).expect_up();
    assert!(at(&ca_file("ca", "other")).expect_down("tls").contains("is not among"));
    for (identity, said) in [
        (issue("expired", elsewhere, "-days -1"), "expired at 20"),
        (issue("client", "extendedKeyUsage=clientAuth", ""), "lacks serverAuth"),
    ] {
        let redis = Redis::start_tls(&identity, None);
        let words = Sidecar::start(main_at(redis.port(), &ca_file("ca", "ca"))).expect_down("tls");
        assert!(words.contains(said), "{words}");
    }
    let checked = |tls: &str| String::from_utf8(run(&["config", "check"], &main_at(1, tls)).stdout).unwrap();
    assert!(checked("verify = \"ca\"").contains("set tls.ca_file to the server's own authority"));
    assert!(!checked(&ca_file("ca", "ca")).contains("set tls.ca_file"));
}

#[test]
fn an_authority_whose_own_certificate_has_expired_is_not_trusted() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let redis = Redis::start_tls(&files.issue("good", "ca", RSA, SAN, ""), None);
    // The same authority's certificate, which was valid until yesterday.
    files.run("x509 -in ca.pem -signkey ca.key -days -1 -out old.pem");
    let (up, old) = (trusting(&files, "ca", &redis), trusting(&files, "old", &redis));
    up.expect_up();
    let words = old.expect_down("tls");
    assert!(words.contains("authority has expired at 20"), "{words}");
    assert!(hint(&old).contains("renewed certificate of the authority"), "{}", hint(&old));
}

#[test]
fn a_certificate_that_expires_between_two_checks_is_noticed_at_the_next_connection() {
    let authority = Authority::new();
    let files = OpenSsl::new();
    let ca_file = files.write("ca.pem", authority.certificate());
    let end = SystemTime::now() + Duration::from_secs(6);
    let redis = Redis::start_tls(&authority.issue_until(&["localhost"], end), None);
    let settings = "reconnect_every = \"1s\"\nmax_age = \"0s\"";
    let sidecar = Sidecar::start_with(settings, main_at(redis.port(), &format!("ca_file = {ca_file:?}")));
    sidecar.expect_up();
    // A new connection that could resume the session of the first.
    sleep(Duration::from_millis(1200));
    sidecar.expect_up();
    sleep(end.duration_since(SystemTime::now()).unwrap_or_default() + Duration::from_millis(1200));
    let words = sidecar.expect_down("tls");
    assert!(words.contains("expired at"), "{words}");
}

#[test]
fn an_algorithm_that_is_not_supported_is_named_with_the_cure_and_taken_where_nothing_is_verified() {
    let files = OpenSsl::new();
    let curve = |name: &str| format!("-newkey ec -pkeyopt ec_paramgen_curve:{name}");
    files.self_signed("ca", RSA, "");
    files.self_signed("p384", &curve("P-384"), "-sha512");
    files.self_signed("p521", &curve("P-521"), "");
    for (identity, trusted, said) in [
        (files.issue("sha512", "p384", &curve("P-256"), SAN, "-sha512"), "p384", "ECDSA with SHA-512"),
        (files.issue("of-p521", "p521", RSA, SAN, "-sha384"), "p521", "by a P-521 key"),
        (files.issue("key-p521", "ca", &curve("P-521"), SAN, ""), "ca", "P-521"),
        (files.issue("ed448", "ca", "-newkey ed448", SAN, ""), "ca", "Ed448"),
    ] {
        let redis = Redis::start_tls(&identity, None);
        let sidecar = trusting(&files, trusted, &redis);
        let words = sidecar.expect_down("tls");
        assert!(words.contains("not supported") && words.contains(said), "{words}");
        let hint = hint(&sidecar);
        assert!(hint.contains("reissue it with") && hint.contains("tls.ca_file"), "{hint}");
        Sidecar::start(main_at(redis.port(), "verify = \"none\"")).expect_up();
    }
    let redis = Redis::start_tls(&files.identity("sha512"), None);
    // The cure.
    trusting(&files, "sha512", &redis).expect_up();
}

#[test]
fn a_critical_extension_of_an_intermediate_is_named_and_its_certificate_can_be_trusted_instead() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let extensions = "basicConstraints=critical,CA:TRUE\npolicyConstraints=critical,requireExplicitPolicy:3";
    let intermediate = files.issue("intermediate", "ca", RSA, extensions, "");
    let leaf = files.issue("leaf", "intermediate", RSA, SAN, "");
    let chain = leaf.certificate().to_owned() + intermediate.certificate();
    let redis = Redis::start_tls(&Identity::of(chain, leaf.key().to_owned()), None);
    let sidecar = trusting(&files, "ca", &redis);
    let words = sidecar.expect_down("tls");
    assert!(words.contains("critical extension policyConstraints"), "{words}");
    assert!(hint(&sidecar).contains("into tls.ca_file"), "{}", hint(&sidecar));
    trusting(&files, "intermediate", &redis).expect_up();
    trusting(&files, "leaf", &redis).expect_up();
}

#[test]
fn a_chain_that_its_own_authorities_forbid_is_told_in_words() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let authority = "basicConstraints=critical,CA:TRUE";
    let chain = |parts: &[&str]| {
        let certificates: Vec<_> =
            parts.iter().map(|part| files.identity(part).certificate().to_owned()).collect();
        Identity::of(certificates.concat(), files.identity(parts[0]).key().to_owned())
    };
    // Each has a name of its own.
    let issue = |name: &str, by: &str, extensions: &str| {
        files.run(&format!("req -new {RSA} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        files.write(&format!("{name}.ext"), extensions);
        let ca = format!("-CA {by}.pem -CAkey {by}.key -CAcreateserial -extfile {name}.ext");
        files.run(&format!("x509 -req -in {name}.csr {ca} -days 30 -out {name}.pem"));
    };
    issue("last", "ca", &format!("{authority},pathlen:0"));
    issue("below", "last", authority);
    issue("deep", "below", SAN);
    issue("named", "ca", &format!("{authority}\nnameConstraints=permitted;DNS:elsewhere.example"));
    issue("outside", "named", SAN);
    issue("flat", "last", SAN);
    for (parts, said) in [
        (vec!["deep", "below", "last"], "fewer authorities below it"),
        (vec!["outside", "named"], "may not issue for this name (name constraints)"),
    ] {
        let redis = Redis::start_tls(&chain(&parts), None);
        let sidecar = trusting(&files, "ca", &redis);
        let words = sidecar.expect_down("tls");
        assert!(words.contains(said) && !words.contains("Other"), "{words}");
        assert!(hint(&sidecar).contains("into tls.ca_file"), "{}", hint(&sidecar));
    }
    let redis = Redis::start_tls(&chain(&["flat", "last"]), None);
    trusting(&files, "ca", &redis).expect_up();
    // The authority was made anew, under the same name.
    let anew = OpenSsl::new();
    anew.self_signed("ca", RSA, "");
    let words = trusting(&anew, "ca", &redis).expect_down("tls");
    assert!(words.contains("authorities of the same name have different keys"), "{words}");
}

#[test]
fn an_address_in_the_place_of_a_host_name_is_told_with_the_cure() {
    let files = OpenSsl::new();
    files.self_signed("ca", RSA, "");
    let at = |redis: &Redis| {
        let ca_file = files.path("ca.pem");
        let url = format!("rediss://127.0.0.1:{}", redis.port());
        Sidecar::start(format!("[caches.main]\nurl = \"{url}\"\ntls = {{ ca_file = {ca_file:?} }}"))
    };
    let redis = Redis::start_tls(&files.issue("dns", "ca", RSA, "subjectAltName=DNS:127.0.0.1", ""), None);
    let sidecar = at(&redis);
    let words = sidecar.expect_down("tls");
    assert!(words.contains("has 127.0.0.1 as the name of a host, not as an IP address"), "{words}");
    assert!(hint(&sidecar).contains("subjectAltName=IP:ADDRESS"), "{}", hint(&sidecar));
    let redis = Redis::start_tls(&files.issue("host", "ca", RSA, SAN, ""), None);
    assert!(at(&redis).expect_down("tls").contains("only for localhost"));
    let redis = Redis::start_tls(&files.issue("ip", "ca", RSA, "subjectAltName=IP:127.0.0.1", ""), None);
    at(&redis).expect_up();
}

#[test]
fn a_cache_whose_tls_files_cannot_be_used_is_named() {
    let config =
        "[caches.good]\nurl = \"redis://localhost\"\n[caches.pages]\nurl = \"rediss://localhost\"\ntls = ";
    for (tls, file) in [
        ("{ ca_file = \"/nowhere/ca.pem\" }", "trusted certificate in /nowhere/ca.pem"),
        ("{ cert_file = \"/nowhere/c.pem\", key_file = \"/nowhere/k.pem\" }", "in /nowhere/c.pem"),
    ] {
        let output = run(&["serve"], &format!("{config}{tls}\n"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("[caches.pages]") && said.contains(file) && !said.contains("good]"), "{said}");
    }
}

#[test]
fn a_server_without_a_common_cipher_suite_or_version_is_told_what_is_spoken() {
    let files = OpenSsl::new();
    let identity = files.self_signed("own", RSA, "-addext subjectAltName=DNS:localhost");
    let cbc = ["--tls-protocols", "TLSv1.2", "--tls-ciphers", "AES256-SHA:ECDHE-RSA-AES256-SHA384"];
    let redis = Redis::start_tls_with(&identity, None, &cbc);
    let sidecar = trusting(&files, "own", &redis);
    let words = sidecar.expect_down("tls");
    assert!(words.contains("nothing in common"), "{words}");
    assert!(hint(&sidecar).contains("ECDHE and AES-GCM or ChaCha20"), "{}", hint(&sidecar));
    redis.command(&["CONFIG", "SET", "tls-ciphers", "ECDHE-RSA-AES256-GCM-SHA384"]);
    sidecar.expect_up();
}

#[test]
fn a_refused_client_certificate_is_the_sidecars_in_each_version_of_tls() {
    let (authority, another) = (Authority::new(), Authority::new());
    let files = OpenSsl::new();
    let ca_file = files.write("ca.pem", authority.certificate());
    for protocol in ["TLSv1.2", "TLSv1.3"] {
        let arguments = ["--tls-protocols", protocol];
        let redis = Redis::start_tls_with(&authority.issue(&["localhost"]), Some(&authority), &arguments);
        let with = |client: Option<&Identity>| {
            let client = client.map(|client| {
                let cert_file = files.write("client.pem", client.certificate());
                format!(
                    ", cert_file = {cert_file:?}, key_file = {:?}",
                    files.write("client.key", client.key())
                )
            });
            Sidecar::start(main_at(
                redis.port(),
                &format!("ca_file = {ca_file:?}{}", client.unwrap_or_default()),
            ))
        };
        with(Some(&authority.issue(&["client"]))).expect_up();
        for (client, said) in [
            (None, "requires a client certificate"),
            (Some(authority.issue_expired(&["client"])), "in tls.cert_file: it has expired"),
            (Some(another.issue(&["client"])), "in tls.cert_file: the server does not trust its issuer"),
        ] {
            let sidecar = with(client.as_ref());
            let words = sidecar.expect_down("tls");
            assert!(words.contains(said), "{protocol}: {words}");
            assert!(hint(&sidecar).contains("set tls.cert_file"), "{protocol}: {}", hint(&sidecar));
        }
    }
}

#[test]
fn a_server_without_tls_is_found_out_in_plain_text_and_one_that_is_slow_is_waited_for() {
    let password = Redis::start(&["--requirepass", "secret"]);
    let sidecar = Sidecar::start(main_at(password.port(), ""));
    let words = sidecar.expect_down("tls");
    assert!(words.contains("no TLS there?") && words.contains("NOAUTH"), "{words}");
    assert!(hint(&sidecar).contains("speaks without TLS"), "{}", hint(&sidecar));

    let authority = Authority::new();
    let files = OpenSsl::new();
    let ca_file = files.write("ca.pem", authority.certificate());
    let stopped = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let sidecar = Sidecar::start(main_at(stopped.port(), &format!("ca_file = {ca_file:?}")));
    sidecar.expect_up();
    stopped.stop();
    let fresh = Sidecar::start(main_at(stopped.port(), &format!("ca_file = {ca_file:?}")));
    let words = fresh.expect_down("timed_out");
    assert!(words.contains(" tls "), "{words}");
    stopped.cont();
    fresh.expect_up();
}

#[test]
fn a_server_that_speaks_tls_alone_is_hinted_at_where_none_is_configured() {
    let authority = Authority::new();
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), None);
    let plain = Sidecar::start(format!("[caches.main]\nurl = \"redis://localhost:{}\"", redis.port()));
    plain.expect_down("unreachable");
    assert!(hint(&plain).contains("both sides use TLS or neither does"), "{}", hint(&plain));
}

#[test]
fn a_full_server_with_tls_is_refused_or_its_limit_is_named() {
    let authority = Authority::new();
    let files = OpenSsl::new();
    let ca_file = files.write("ca.pem", authority.certificate());
    let settings = |scheme: &str, port: u16| {
        format!("[caches.main]\nurl = \"{scheme}://localhost:{port}\"\ntls = {{ ca_file = {ca_file:?} }}")
    };
    let redis = Redis::start_tls(&authority.issue(&["localhost"]), None);
    Sidecar::start(settings("rediss", redis.port())).expect_up();
    redis.command(&["CONFIG", "SET", "maxclients", "8"]);
    let connect_many = |port: u16| -> Vec<_> {
        (0..80).filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok()).collect()
    };
    let held = connect_many(redis.port());
    let sidecar = Sidecar::start(settings("rediss", redis.port()));
    sidecar.expect_down("tls");
    assert!(hint(&sidecar).contains("below its connection limit"), "{}", hint(&sidecar));
    drop(held);
    eventually("the server takes connections again", || sidecar.health().code == 200);

    let memcached = Memcached::start_tls_with(&authority.issue(&["localhost"]), None, &["-c", "64"]);
    let sidecar = Sidecar::start(settings("memcacheds", memcached.port()));
    sidecar.expect_up();
    let held = connect_many(memcached.port());
    let fresh = Sidecar::start(settings("memcacheds", memcached.port()));
    let words = fresh.expect_down("refused");
    assert!(words.contains("Too many open connections"), "{words}");
    drop(held);
}

#[test]
fn a_host_that_cannot_stand_in_a_certificate_is_down_alone_and_the_cure_is_named() {
    let redis = Redis::start(&[]);
    for host in ["redis.123", "cache-.local"] {
        let config = format!(
            "[caches.main]\nurl = \"rediss://{host}:6379\"\n[caches.other]\nurl = \"redis://{}\"",
            redis.addr()
        );
        let sidecar = Sidecar::start(&config);
        let words = sidecar.expect_down("tls");
        assert!(words.contains("set tls.server_name"), "{words}");
        assert_eq!(sidecar.health().body["checks"]["cache.other"], "UP");
        let output = run(&["config", "check"], &config);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && stdout.contains(&format!("note: main: the host of {host}:6379")),
            "{stdout}"
        );
        assert!(stdout.contains("set tls.server_name"), "{stdout}");
    }
}

#[test]
fn files_in_other_spellings_of_pem_are_read_and_others_are_called_by_name() {
    let files = OpenSsl::new();
    let ca = files.self_signed("ca", RSA, "");
    let redis = Redis::start_tls(&files.issue("good", "ca", RSA, SAN, ""), None);
    let pem = ca.certificate();
    files.write("bom.pem", [b"\xef\xbb\xbf", pem.as_bytes()].concat());
    let utf16 = pem.encode_utf16().flat_map(u16::to_le_bytes);
    files.write("utf16.pem", [0xff, 0xfe].into_iter().chain(utf16).collect::<Vec<_>>());
    files.write("x509.pem", pem.replace(" CERTIFICATE", " X509 CERTIFICATE"));
    files.write("crlf.pem", pem.replace('\n', "\r\n"));
    files.run("x509 -in ca.pem -trustout -addtrust serverAuth -out trusted.pem");
    for name in ["bom", "utf16", "x509", "crlf", "trusted"] {
        trusting(&files, name, &redis).expect_up();
    }
}

/// The message of `config check` about these TLS settings, which it refuses.
fn refused(tls: &str) -> String {
    let output = run(&["config", "check"], &main_at(1, tls));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{tls}: {stderr}");
    stderr.into_owned()
}

#[test]
fn a_file_of_another_kind_is_called_by_name_with_the_command_that_converts_it_and_nothing_of_it_is_shown() {
    let files = OpenSsl::new();
    files.self_signed("good", RSA, "");
    files.self_signed("other", RSA, "");
    for command in [
        "x509 -in good.pem -outform der -out cert.der",
        "pkey -in good.key -outform der -out key.der",
        "rsa -in good.key -traditional -outform der -out pkcs1.der",
        "pkey -in good.key -pubout -out public.key",
        "pkey -in good.key -pubout -outform der -out public.der",
        "pkcs12 -export -in good.pem -inkey good.key -passout pass:secret -out both.p12",
        "pkcs8 -topk8 -in good.key -passout pass:secret -outform der -out secret.der",
        "pkey -in good.key -aes256 -passout pass:secret -out pkcs8.key",
        "rsa -in good.key -traditional -aes128 -passout pass:secret -out traditional.key",
        "crl2pkcs7 -nocrl -certfile good.pem -out chain.p7",
        "req -new -key good.key -subj /CN=localhost -out good.csr",
        "ecparam -name prime256v1 -out parameters.key",
        "genpkey -algorithm ed448 -out ed448.key",
    ] {
        files.run(command);
    }
    let key = files.identity("good").key().to_owned();
    files.write("empty", "");
    files.write("words", "see the wiki");
    files.write("cut.key", &key[..key.len() / 2]);
    files.write("one-line.key", key.replace('\n', ""));
    files.write("escaped.key", key.replace('\n', "\\n"));
    files.write("bytes.key", key.replace("\nMII", "\n*II"));
    files.write("hollow.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    files.write("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write("ssh.key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n");
    let convert = |with: &str, file: &str| {
        format!("convert it with `openssl {with} -in {}", files.path(file).display())
    };
    let name = |what: &str, wanted: &str| format!("{what}: name the file that holds the {wanted}");
    let keys = [
        ("key.der", convert("pkey -inform der", "key.der")),
        ("pkcs1.der", convert("pkey -inform der", "pkcs1.der")),
        ("secret.der", convert("pkey -inform der", "secret.der")),
        ("both.p12", convert("pkcs12 -nocerts -nodes", "both.p12")),
        ("cert.der", name("it is a certificate in DER", "private key")),
        ("public.der", name("it is a public key in DER", "private key")),
        ("public.key", name("it holds PUBLIC KEY", "private key")),
        ("good.pem", name("it holds CERTIFICATE", "private key")),
        ("parameters.key", name("it holds EC PARAMETERS", "private key")),
        ("ssh.key", "convert a copy of it with `ssh-keygen -p -m PKCS8 -f".to_owned()),
        ("empty", "the file is empty".to_owned()),
        ("words", "it has no line -----BEGIN PRIVATE KEY-----".to_owned()),
        ("cut.key", "its PRIVATE KEY has no END line, so the file is cut off".to_owned()),
        ("one-line.key", "its line breaks are lost".to_owned()),
        ("escaped.key", "its line breaks are lost".to_owned()),
        ("bytes.key", "its PRIVATE KEY cannot be decoded".to_owned()),
        ("hollow.key", "is damaged or of a kind that is not supported".to_owned()),
        ("ed448.key", "is damaged or of a kind that is not supported".to_owned()),
        ("pkcs8.key", "protected by a passphrase".to_owned()),
        ("traditional.key", "protected by a passphrase".to_owned()),
        ("other.key", "does not belong to the certificate in".to_owned()),
    ];
    let certificates = [
        ("cert.der", convert("x509 -inform der", "cert.der")),
        ("both.p12", convert("pkcs12 -nokeys", "both.p12")),
        ("chain.p7", convert("pkcs7 -print_certs", "chain.p7")),
        ("key.der", name("it is a private key in DER", "certificate")),
        ("public.der", name("it is a public key in DER", "certificate")),
        ("good.csr", name("it holds CERTIFICATE REQUEST", "certificate")),
        ("good.key", name("it holds PRIVATE KEY", "certificate")),
        ("one-line.key", "its line breaks are lost".to_owned()),
        ("hollow.pem", "its CERTIFICATE cannot be decoded: check it with `openssl x509 -in".to_owned()),
        ("empty", "the file is empty".to_owned()),
    ];
    let (pem, secret) = (files.path("good.pem"), key.lines().nth(1).unwrap());
    let of_key = keys.iter().map(|(file, said)| {
        (format!("cert_file = {pem:?}, key_file = {:?}", files.path(file)), said.clone())
    });
    let of_certificate = certificates.iter().flat_map(|(file, said)| {
        let (path, key) = (files.path(file), files.path("good.key"));
        let trusted = said.replace("the certificate", "the trusted certificate");
        [
            (format!("cert_file = {path:?}, key_file = {key:?}"), said.clone()),
            (format!("ca_file = {path:?}"), trusted),
        ]
    });
    for (tls, said) in of_key.chain(of_certificate) {
        let stderr = refused(&tls);
        assert!(stderr.contains(&said), "{tls}: {stderr}");
        assert!(!stderr.contains(&secret[..8]), "{tls}: {stderr}");
    }
}

#[test]
fn what_the_commands_convert_is_taken() {
    let files = OpenSsl::new();
    let redis = Redis::start_tls(&files.self_signed("localhost", RSA, ""), None);
    for command in [
        "x509 -in localhost.pem -outform der -out cert.der",
        "pkey -in localhost.key -outform der -out key.der",
        "crl2pkcs7 -nocrl -certfile localhost.pem -out chain.p7",
    ] {
        files.run(command);
    }
    let path = |file: &str| files.path(file);
    for tls in [
        format!("ca_file = {:?}", path("cert.der")),
        format!("ca_file = {:?}", path("chain.p7")),
        format!("ca_file = {:?}, cert_file = {0:?}, key_file = {:?}", path("localhost.pem"), path("key.der")),
    ] {
        let stderr = refused(&tls);
        let (_, command) = stderr.split_once("`openssl ").unwrap();
        files.run(command.split_once('`').unwrap().0);
        let mut converted = tls.clone();
        for file in ["cert.der", "chain.p7", "key.der"] {
            converted = converted.replace(file, &format!("{file}.pem"));
        }
        Sidecar::start(main_at(redis.port(), &converted)).expect_up();
    }
}
