//! The house's one law: a room uses rooms of the floors below it, never of its own floor or above.
//!
//! Every `crate::ROOM` path in `src/` is read, wherever it stands (uses, expressions, types).

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor, the lowest first. `docs/architecture.md` says what each is for.
const FLOORS: &[&[&str]] = &[
    &["chart", "model", "telemetry"],
    &["exposition", "ledger", "net", "storage"],
    &["host", "promql", "scrape", "sigma", "template"],
    &["paging", "remote", "rules"],
    &["replay", "web"],
    &["config"],
    &["daemon"],
    &["cli"],
    // The binary is nothing but a call into the library.
    &["main"],
];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// The lines of a file that break the law, as `file:line: what`.
fn violations(file: &Path, room: &str, text: &str) -> Vec<String> {
    let Some(own) = floor(room) else {
        return vec![format!("{}: the room {room} stands on no floor", file.display())];
    };
    let mut found = Vec::new();
    let mut complain = |line: usize, what: String| found.push(format!("{}:{line}: {what}", file.display()));
    for (offset, path) in paths(text) {
        let line = text[..offset].matches('\n').count() + 1;
        match floor(&path) {
            _ if path == room => {}
            None => complain(line, format!("{path} is no room")),
            Some(other) if other >= own => {
                complain(line, format!("{room} (floor {own}) uses {path} (floor {other})"));
            }
            Some(_) => {}
        }
    }
    found
}

/// The first words after `crate::` (and, in the binary, `sideband::`), with the offset of each.
fn paths(text: &str) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for prefix in ["crate::", "sideband::"] {
        for (at, _) in code.match_indices(prefix) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                // `crate::{a::b, c}`: the first word after the brace and after each comma of depth 0.
                Some(group) => top_level(group),
                None => vec![rest],
            };
            for name in names {
                let word: String =
                    name.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if !word.is_empty() {
                    found.push((at, word));
                }
            }
        }
    }
    found
}

fn top_level(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut start = 0;
    let mut parts = Vec::new();
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[start..i]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts
}

/// The text with comments blanked, so that offsets stay.
fn without_comments(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.find("//") {
            Some(at) if !line[..at].contains('"') => {
                let blank: String = line[at..].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
                format!("{}{blank}", &line[..at])
            }
            _ => line.to_owned(),
        })
        .collect()
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn rooms_use_only_the_floors_below() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    assert!(files.len() > 20, "found only {} files in {}", files.len(), src.display());
    let mut found = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        if inside == Path::new("lib.rs") {
            continue;
        }
        let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let room = first.strip_suffix(".rs").unwrap_or(first);
        found.extend(violations(inside, room, &fs::read_to_string(&file).unwrap()));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_room_of_the_library_stands_on_a_floor() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for line in lib.lines() {
        if let Some(room) = line.strip_prefix("pub mod ").and_then(|l| l.strip_suffix(';')) {
            assert!(floor(room).is_some(), "{room} stands on no floor");
        }
    }
}

#[test]
fn a_planted_violation_is_found() {
    for (room, text, expect) in [
        ("storage", "fn f() { crate::web::serve() }", Some("x.rs:1: storage (floor 1) uses web (floor 4)")),
        (
            "rules",
            "use crate::model::Labels;\nuse crate::paging::Pager;\n",
            Some("x.rs:2: rules (floor 3) uses paging (floor 3)"),
        ),
        (
            "rules",
            "use crate::{model::{Labels, Sample}, web};\n",
            Some("x.rs:1: rules (floor 3) uses web (floor 4)"),
        ),
        (
            "model",
            "struct S(crate::storage::Storage);",
            Some("x.rs:1: model (floor 0) uses storage (floor 1)"),
        ),
        ("web", "// crate::cli is above\nuse crate::rules::X;", None),
        ("web", "use crate::web::api;", None),
    ] {
        let found = violations(Path::new("x.rs"), room, text);
        assert_eq!(found.first().map(String::as_str), expect, "{text}");
    }
}
