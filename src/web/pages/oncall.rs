//! Who is on call.

use super::layout::{Html, Page};
use crate::paging::oncall::OnCallSchedule;
use crate::web::api::oncall;
use crate::web::params::Params;
use crate::web::state::State;

pub fn page(state: &State, params: &Params) -> String {
    let mut h = Html::default();
    match oncall::at(state, params) {
        Ok(view) if view.schedules.is_empty() => {
            h.raw("<p>No on-call schedules are configured.</p>");
        }
        Ok(view) => view.schedules.iter().for_each(|s| schedule(&mut h, s, view.days)),
        Err(e) => {
            h.raw("<p class=\"dim\">").text(&e.message).raw(".</p>");
        }
    }
    Page { title: "On call", here: "/oncall", bare: false }.render(state, &h)
}

fn schedule(h: &mut Html, s: &OnCallSchedule, days: i64) {
    h.raw("<h2>").text(&s.schedule).raw("</h2>");
    let now = s.turns.first().and_then(|t| t.user.as_deref());
    h.raw("<p>Now: ");
    match now {
        Some(user) => h.raw("<b>").text(user).raw("</b>"),
        None => h.raw("<b class=\"bad\">nobody</b>"),
    };
    h.raw(".</p><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Turns of ")
        .text(&s.schedule);
    h.raw("\"><table><tr><th scope=\"col\">Who</th><th scope=\"col\">From</th><th scope=\"col\">Until</th></tr>");
    for turn in &s.turns {
        h.raw("<tr><td class=\"nowrap\">");
        match &turn.user {
            Some(user) => h.text(user),
            None => h.raw("<b class=\"bad\">nobody</b>"),
        };
        h.raw("</td><td class=\"nowrap\">").text(&wall(&turn.from)).raw("</td><td class=\"nowrap\">");
        h.text(&turn.until.as_deref().map_or("for good".to_owned(), wall)).raw("</td></tr>");
    }
    h.raw("</table></div>");
    if s.gaps.is_empty() {
        h.raw("<p class=\"dim\">No gaps in the next ").show(days).raw(" days");
    } else {
        h.raw("<p class=\"bad\" role=\"alert\">Nobody is on call ");
        for (i, gap) in s.gaps.iter().take(10).enumerate() {
            h.raw(if i > 0 { "; " } else { "" })
                .raw("from ")
                .text(&wall(&gap.from))
                .raw(" until ")
                .text(&wall(&gap.until));
        }
    }
    if let Some(location) = &s.location {
        h.raw(". Handovers in ").text(location);
    }
    h.raw(".</p>");
}

/// A time as RFC 3339 has it, to the minute and with blanks: `2026-11-23 09:00 UTC`, `… 09:00 +01:00`.
fn wall(rfc3339: &str) -> String {
    let Some((minute, rest)) = rfc3339.split_at_checked("2026-11-23T09:00".len()) else {
        return rfc3339.to_owned();
    };
    let zone = rest.trim_start_matches([':', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    format!("{} {}", minute.replace('T', " "), if zone == "Z" { "UTC" } else { zone })
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_read_at_a_glance() {
        for (text, expect) in [
            ("2026-11-23T09:00:00Z", "2026-11-23 09:00 UTC"),
            ("2026-11-21T08:33:11.711Z", "2026-11-21 08:33 UTC"),
            ("2026-11-23T09:00:00+01:00", "2026-11-23 09:00 +01:00"),
            ("2026-11-23T09:00:00.5-05:30", "2026-11-23 09:00 -05:30"),
            ("for good", "for good"),
        ] {
            assert_eq!(super::wall(text), expect);
        }
    }
}
