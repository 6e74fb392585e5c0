use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;

/// A certificate for these names, with this common name.
fn certificate(names: &[&str], common_name: &str) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(1999, 12, 31);
    params.not_after = date_time_ymd(2052, 2, 29);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    Certificate::read(certificate).unwrap().is_for(&ServerName::try_from(name).unwrap())
}

#[test]
fn the_dates_are_those_of_the_calendar_in_both_forms() {
    let der = certificate(&["cache"], "cache");
    let validity = Certificate::read(&der).unwrap().validity;
    let shown = |time| humantime::format_rfc3339_seconds(time).to_string();
    // A year from 2050 on is written as a GeneralizedTime, an earlier one as a UTCTime.
    assert_eq!(shown(validity.begin()), "1999-12-31T00:00:00Z");
    assert_eq!(shown(validity.end()), "2052-02-29T00:00:00Z");
    let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let (begin, end) = (validity.not_before, validity.not_after);
    assert!(validity.includes(at(begin)) && validity.includes(at(end)));
    assert!(!validity.includes(at(begin - 1)) && !validity.includes(at(end + 1)));
    assert!(validity.is_over(at(end + 1)) && !validity.is_over(at(end)) && !validity.is_over(at(begin - 1)));
}

#[test]
fn a_date_that_no_clock_shows_is_no_date() {
    let der = certificate(&["cache"], "cache");
    let date = b"20520229000000Z";
    let at = der.windows(date.len()).position(|window| window == date).unwrap();
    for wrong in
        ["20520229240000Z", "20520229006000Z", "20520229000060Z", "20521329000000Z", "2052022900000Z "]
    {
        let mut der = der.clone();
        der[at..at + date.len()].copy_from_slice(wrong.as_bytes());
        assert!(Certificate::read(&der).is_none(), "{wrong}");
    }
}

#[test]
fn a_name_is_compared_as_openssl_compares_it() {
    let named = certificate(&["cache.example", "*.node.example", "192.0.2.1"], "other.example");
    for (name, expected) in [
        ("cache.example", true),
        ("CACHE.example", true),
        ("cache.example.", true),
        ("a.node.example", true),
        ("a.b.node.example", false),
        ("node.example", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        // The common name counts only if there is no DNS name.
        ("other.example", false),
    ] {
        assert_eq!(is_for(&named, name), expected, "{name}");
    }
    assert!(is_for(&certificate(&[], "cache.example"), "cache.example"));
    assert!(!is_for(&certificate(&[], "192.0.2.1"), "192.0.2.1"), "an address is never a common name");
    assert!(
        !is_for(&certificate(&["*"], ""), "cache") && !is_for(&certificate(&["*.example"], ""), "a.example")
    );
}

#[test]
fn the_key_and_the_signature_are_named() {
    let der = certificate(&["cache"], "cache");
    let read = Certificate::read(&der).unwrap();
    assert_eq!((read.version, read.shown_subject(), read.is_self_issued()), (3, "cache".to_owned(), true));
    assert_eq!(described(read.key.algorithm), "P-256");
    assert_eq!(described(read.signed.algorithm), "ECDSA with SHA-256");
    // An unknown one is written with dots.
    assert_eq!(described(&[6, 3, 0x2a, 0x86, 0x48]), "1.2.840");
}

#[test]
fn whatever_is_cut_or_altered_is_read_or_not_and_nothing_breaks() {
    let der = certificate(&["cache.example", "192.0.2.1"], "cache");
    assert!((0..der.len()).all(|length| Certificate::read(&der[..length]).is_none()));
    for place in 0..der.len() {
        for value in [0, 0x7f, 0x80, 0x84, 0xff] {
            let mut altered = der.clone();
            altered[place] = value;
            if let Some(read) = Certificate::read(&altered) {
                let _ =
                    (read.names(), read.is_for_servers(), read.shown_issuer(), described(read.key.algorithm));
                let _ = (read.unsupported_critical().count(), read.validity.end());
            }
        }
    }
    let followed = [&der[..], b"more"].concat();
    assert_eq!(Certificate::length(&followed), Some(der.len()));
}
