//! Links to acknowledge: a corpus of forged, cut, oversized, expired and foreign ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use sideband::paging::acklink::{AckClaim, AckLinks, LinkError};

const KEY: &[u8] = b"a key that is long enough";
/// What the signature covers before the token itself, with the ledger's identity.
const DOMAIN: &[u8] = b"sideband acknowledgement link\0";

fn claim(incident: u64) -> AckClaim {
    AckClaim { incident, round: 0, step: 0, expires: 2_000_000_000_000, person: "anna".to_owned() }
}

fn links(key: &[u8], instance: &str) -> AckLinks {
    AckLinks::new(key, instance, "https://me.example").unwrap()
}

fn parts(token: &str) -> (Vec<u8>, Vec<u8>) {
    let bytes = BASE64.decode(token).unwrap();
    let at = bytes.len() - 32;
    (bytes[..at].to_vec(), bytes[at..].to_vec())
}

fn joined(payload: &[u8], signature: &[u8]) -> String {
    BASE64.encode([payload, signature].concat())
}

fn signed(key: &[u8], domain: &[u8], instance: &str, payload: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(domain);
    mac.update(&(instance.len() as u64).to_be_bytes());
    mac.update(instance.as_bytes());
    mac.update(payload);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn a_corpus_of_bad_links() {
    let ours = links(KEY, "ledger-a");
    let now = 1_900_000_000_000;
    let token = ours.token(&claim(7));
    let (payload, signature) = parts(&token);
    assert_eq!(ours.verify(&token, now), Ok(claim(7)));
    // The corpus below signs as sideband does, or its cases would prove nothing.
    assert_eq!(signed(KEY, DOMAIN, "ledger-a", &payload), signature);

    let mut other = payload.clone();
    other[8] = 8;
    let mut later = payload.clone();
    later[15..23].copy_from_slice(&i64::MAX.to_be_bytes());
    let mut version = payload.clone();
    version[0] = 2;
    let mut person = payload.clone();
    person.truncate(23);
    person.extend(b"boss");
    let mut binary = payload.clone();
    binary.truncate(23);
    binary.extend([0xff, 0xfe]);
    let mut long = Hmac::<Sha512>::new_from_slice(KEY).unwrap();
    long.update(&payload);
    let long = long.finalize().into_bytes().to_vec();
    let mut plain = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    plain.update(&payload);
    let plain = plain.finalize().into_bytes().to_vec();

    use LinkError::{BadSignature, Expired, Malformed};
    let cases: Vec<(&str, String, LinkError)> = vec![
        ("another incident", joined(&other, &signature), BadSignature),
        ("a later end", joined(&later, &signature), BadSignature),
        ("another version", joined(&version, &signature), BadSignature),
        ("another person", joined(&person, &signature), BadSignature),
        ("no signature", BASE64.encode(&payload), Malformed),
        ("an empty signature of the algorithm none", joined(&payload, &[0; 32]), BadSignature),
        ("half a signature", joined(&payload, &signature[..16]), Malformed),
        ("another algorithm", joined(&payload, &long), BadSignature),
        ("another algorithm, cut to size", joined(&payload, &long[..32]), BadSignature),
        ("a signature over the payload alone", joined(&payload, &plain), BadSignature),
        ("a signature of a webhook", joined(&payload, &signed(KEY, b"", "ledger-a", &payload)), BadSignature),
        ("another ledger", links(KEY, "ledger-b").token(&claim(7)), BadSignature),
        ("another key", links(b"another key, long enough", "ledger-a").token(&claim(7)), BadSignature),
        // Signed with the right key, and no link all the same.
        ("a version of the future", joined(&version, &signed(KEY, DOMAIN, "ledger-a", &version)), Malformed),
        ("an end past all ends", joined(&later, &signed(KEY, DOMAIN, "ledger-a", &later)), Malformed),
        ("a name that is no text", joined(&binary, &signed(KEY, DOMAIN, "ledger-a", &binary)), Malformed),
        ("expired", ours.token(&AckClaim { expires: now, ..claim(7) }), Expired),
        ("long expired", ours.token(&AckClaim { expires: 0, ..claim(7) }), Expired),
        // No base64 of ours.
        ("padding", format!("{token}="), Malformed),
        ("a blank", format!("{token} "), Malformed),
        ("twice", format!("{token}{token}"), BadSignature),
        ("nothing", String::new(), Malformed),
        ("oversized", "A".repeat(1025), Malformed),
        ("huge", "A".repeat(1 << 20), Malformed),
        ("a line break", format!("{token}\n"), Malformed),
        ("no text", "\u{0}\u{0}\u{0}\u{0}".to_owned(), Malformed),
    ];
    for (what, token, expect) in cases {
        let said = ours.verify(&token, now);
        match (&said, &expect) {
            // The end of one token and the beginning of the next may not fit together.
            (Err(_), _) if what == "twice" => {}
            _ => assert_eq!(said, Err(expect), "{what}"),
        }
    }
    // Cut anywhere, or with any sign of it changed.
    for i in 0..token.len() {
        assert!(ours.verify(&token[..i], now).is_err(), "cut at {i}");
        let mut changed = token.clone().into_bytes();
        changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let same = BASE64.decode(&changed).is_ok_and(|b| b == BASE64.decode(&token).unwrap());
        assert!(same || ours.verify(&changed, now).is_err(), "changed at {i}");
    }
    // Names are bounded, whoever made them.
    let endless = AckClaim { person: "ü".repeat(5000), ..claim(7) };
    let token = ours.token(&endless);
    assert!(token.len() <= 1024 && ours.verify(&token, now).unwrap().person.chars().count() == 200);
}
