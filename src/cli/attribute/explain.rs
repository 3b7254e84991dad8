//! `--explain`: one order in plain words, which a creator's support can send on.

use std::io::Write;

use anyhow::Result;

use super::amount::{format_amount, format_rate};
use crate::{
    cli::clicks::text::{escape_for_terminal_or_dash, format_utc_ms},
    commission::{
        Candidate, CandidateReason, CandidateRow, FoundBy, LineReason, LineRow, LineState, Order, OrderCredit,
    },
};

/// Prints what was decided about each line of an order, every candidate, and why each won or lost.
///
/// # Errors
/// `out` cannot be written.
pub(super) fn explain_order(
    credit: &OrderCredit<'_>,
    order: Order<'_>,
    as_of_ms: u64,
    out: &mut impl Write,
) -> Result<()> {
    let id = escape_for_terminal_or_dash(order.order_id());
    writeln!(out, "Order {id}, paid {}, as of {}", format_utc_ms(order.paid_at_ms()), format_utc_ms(as_of_ms))?;
    if credit.rows.is_empty() {
        writeln!(out, "\nThe order has no lines as of this time: it was paid later, or nothing was bought.")?;
    }
    for row in &credit.rows {
        explain_line(row, &credit.candidates, out)?;
    }
    Ok(())
}

fn explain_line(row: &LineRow<'_>, candidates: &[Candidate<'_>], out: &mut impl Write) -> Result<()> {
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    let value = format_amount(row.value_minor, row.currency);
    let (line, product, seller) = (text(row.line_id), text(row.product_id), text(row.seller_id));
    writeln!(out, "\nLine {line}: {} × {product} of seller {seller}, {value}", row.quantity)?;
    match &row.credit {
        None => writeln!(out, "  Nobody earns: {}.", describe_line_reason(row.reason))?,
        Some(credit) => {
            let amount = format_amount(row.commission_minor, row.currency);
            let (creator, rate) = (text(credit.creator_id), format_rate(credit.rate_bp));
            writeln!(out, "  {creator} earns {amount}: {}.", describe_line_reason(row.reason))?;
            let kept = credit.kept_quantity;
            writeln!(
                out,
                "  The rate is that of the click, {rate}; the commission is for {kept} of {}.",
                row.quantity
            )?;
        }
    }
    writeln!(out, "  State {}: {}.", row.state.as_str(), describe_state(row))?;
    for clawback in row.credit.iter().flat_map(|credit| &credit.clawbacks) {
        let amount = format_amount(clawback.amount_minor, row.currency);
        let (at, quantity) = (format_utc_ms(clawback.returned_at_ms), clawback.quantity);
        writeln!(out, "  Clawed back {amount}: {quantity} came back on {at}, after the line became payable.")?;
    }
    for flag in row.credit.iter().flat_map(|credit| &credit.flags) {
        writeln!(out, "  Note {}: {}.", flag.as_str(), flag.describe())?;
    }
    if row.bad_tokens > 0 {
        writeln!(out, "  {} of the order's tokens are not genuine and were not looked at.", row.bad_tokens)?;
    }
    if !candidates.is_empty() {
        writeln!(out, "  The clicks that were looked at, the latest first:")?;
    }
    for (candidate, judged) in candidates.iter().zip(&row.candidates) {
        explain_candidate(candidate, judged, out)?;
    }
    Ok(())
}

fn explain_candidate(candidate: &Candidate<'_>, judged: &CandidateRow<'_>, out: &mut impl Write) -> Result<()> {
    let text = |text: &str| escape_for_terminal_or_dash(text).into_owned();
    let found_by = match judged.found_by {
        FoundBy::Token => "the order's token",
        FoundBy::Visitor => "the buyer's cookie jar",
    };
    writeln!(
        out,
        "    {:<4}  {}  link {} of {}  creator {}  click {}, found by {found_by}",
        judged.result,
        format_utc_ms(judged.clicked_at_ms),
        text(judged.code),
        text(judged.domain),
        text(candidate.creator_id()),
        text(judged.click_id),
    )?;
    let reason = judged.reason;
    Ok(writeln!(out, "          {}: {}.", reason.as_str(), describe_candidate_reason(reason))?)
}

const fn describe_line_reason(reason: LineReason) -> &'static str {
    match reason {
        LineReason::LastClick => "the buyer's last click before payment was on this creator's link to the product",
        LineReason::NoClick => "the order came with no genuine token, so no click is known",
        LineReason::NotLinkedProduct => "no link that the buyer clicked in time stands for this product",
        LineReason::ClickOver14Days => "at payment every click that could have earned was 14 days old or older",
        LineReason::NoCreditableClick => "none of the clicks can earn; each says why below",
        LineReason::LinkEnded => {
            "the link of the last click had ended before payment; earlier clicks were replaced by that click"
        }
        LineReason::OrderCancelled => "the order was cancelled before the commission was to be paid",
        LineReason::Returned => "everything came back before the commission was to be paid",
    }
}

fn describe_state(row: &LineRow<'_>) -> String {
    match (row.state, &row.times) {
        (LineState::Rejected, _) => "nothing is owed".to_owned(),
        (LineState::Reversed, _) => {
            "everything was taken back after delivery and before payout; nothing is owed".to_owned()
        }
        (LineState::Pending, None) => "the order is not delivered yet; the amount is an estimate".to_owned(),
        (LineState::Pending, Some(times)) => {
            format!("the amount is an estimate; it is confirmed on {}", format_utc_ms(times.confirmed_at_ms))
        }
        (LineState::Confirmed, Some(times)) => {
            format!("the amount is owed; it is paid from {}", format_utc_ms(times.payable_from_ms))
        }
        (LineState::Payable, Some(times)) => {
            format!("the amount is owed and is paid until {}", format_utc_ms(times.payable_until_ms))
        }
        (LineState::Confirmed | LineState::Payable, None) => "the amount is owed".to_owned(),
    }
}

const fn describe_candidate_reason(reason: CandidateReason) -> &'static str {
    match reason {
        CandidateReason::TokenMismatch => {
            "the token was not made for this click's link and seller, so it does not prove the click"
        }
        CandidateReason::UnknownClick => "neither a record of the click nor its link is known",
        CandidateReason::ArrivedTooLate => {
            "the record of the click arrived after the order's winner was final, and its link is not known"
        }
        CandidateReason::Orphan => "the click did not lead to a live link: unknown, ended, disabled or not started",
        CandidateReason::NotHuman => "the click was a machine's: a bot, a preview, a prefetch or the like",
        CandidateReason::TestLink => "the link is a test link, which is never paid",
        CandidateReason::PlainLink => "the link is a plain link, which stands for no product",
        CandidateReason::NoCreator => "the link has no creator",
        CandidateReason::ShowcaseNotAffiliate => {
            "the link is a showcase, and its creator is no affiliate; only affiliates earn by showcases"
        }
        CandidateReason::ExcludedSource => "the click came from a platform that the programme excludes",
        CandidateReason::SelfPurchase => "the buyer is the creator of the link; nobody earns from an own purchase",
        CandidateReason::TokenOnly => "the click has no record, and the programme does not credit tokens alone",
        CandidateReason::SharedToken => {
            "another account than the buyer's brought the token to the shop; a click of the buyer's own goes first, or \
             the programme refuses it"
        }
        CandidateReason::AfterPayment => "the click came after payment",
        CandidateReason::ClickOver14Days => "at payment the click was 14 days old or older",
        CandidateReason::OtherProduct => "the link stands for another product",
        CandidateReason::NotInSet => "the product was not in the link's list of products at the time of the click",
        CandidateReason::EarlierClick => "a later click took its place",
        CandidateReason::LinkEnded => "the last click before payment, but its link had ended by then",
        CandidateReason::LastClick => "the last click before payment on a link that stands for the product",
    }
}
