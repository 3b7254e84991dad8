"""What every order line must earn, computed from what the run itself saw: who tapped what, when, in which app, and what the shop
was told. Written by the programme's words and without any code of Waypost. Times in milliseconds, money in minor units.
"""
import fractions

from money.world import DAY_MS

CLICK_LIFE = 14 * DAY_MS


def rows_of(sale, entries, as_of_ms):
    """The rows of one order. `sale` has its versions, and the taps that were sent with it."""
    paid = sale.versions[0]
    last = max(sale.versions, key=lambda version: version["updated_at_ms"])
    return [row_of(sale, line, last, entries, as_of_ms) for line in paid["lines"]]


def row_of(sale, line, last, entries, as_of_ms):
    paid_ms = sale.versions[0]["paid_at_ms"]
    reason, tap, terms, own = winner_of(sale, line, entries)
    settled = next((found for found in last["lines"] if found["line_id"] == line["line_id"]), None)
    row = {"order_id": sale.order_id, "line_id": line["line_id"], "freeze_at_ms": paid_ms + 14 * DAY_MS,
           **{key: line[key] for key in ("seller_id", "product_id")},
           **{key: (settled or line)[key] for key in ("currency", "quantity", "value_minor")}}
    if sale.bad_tokens:
        row["bad_tokens"] = sale.bad_tokens
    if not tap:
        return row | {"state": "rejected", "reason": reason, "commission_minor": 0}
    row |= {"click_id": tap.claims["click_id"], "clicked_at_ms": tap.claims["clicked_at_ms"], "domain": tap.link.domain,
            "code": tap.link.code, "link_kind": tap.link.kind, "creator_id": tap.link.creator, **terms}
    for key, of_link in (("campaign_id", "campaign"), ("product_set_id", "product_set")):
        if tap.link.record.get(of_link):
            row[key] = tap.link.record[of_link]
    if not own:
        row["flags"] = ["shared_token"]
    return row | settle(settled or line, settled is None, last, terms["rate_bp"], as_of_ms)


def winner_of(sale, line, entries):
    """The reason; the tap that earns, if one does, with its terms and whether it is the buyer's own."""
    paid_ms = sale.versions[0]["paid_at_ms"]
    candidates = candidates_of(sale, paid_ms)
    if not candidates:
        return "no_click", None, None, None
    able = [(tap, own) for tap, own in candidates if can_earn(tap, sale) and tap.claims["clicked_at_ms"] <= paid_ms]
    fresh = [(tap, own) for tap, own in able if paid_ms < tap.claims["clicked_at_ms"] + CLICK_LIFE]
    standing = [(tap, own, terms) for tap, own in fresh if (terms := terms_of(tap, line, entries))]
    if not standing:
        return ("not_linked_product" if fresh else "click_over_14_days" if able else "no_creditable_click"), None, None, None
    tap, own, terms = max(standing, key=lambda one: (one[1], one[0].claims["clicked_at_ms"], one[0].claims["click_id"]))
    if paid_ms >= tap.link.end_ms:
        return "link_ended", None, None, None
    return "last_click", tap, terms, own


def candidates_of(sale, paid_ms):
    """The taps whose tokens came with the order, and those in the jars of the buyer's own ones."""
    found = {}
    for tap, own in sale.sent:
        before = found.get(tap.claims["click_id"], (tap, False))
        found[tap.claims["click_id"]] = (tap, own or before[1])
    for tap, own in list(sale.sent):
        if own and tap.jar.app != "shop-app" and not tap.jar.gpc:
            for other in tap.jar.taps:
                same_jar = other.link.domain == tap.link.domain and other.claims
                if same_jar and paid_ms - CLICK_LIFE < other.claims["clicked_at_ms"] <= paid_ms:
                    found[other.claims["click_id"]] = (other, True)
    return list(found.values())


def can_earn(tap, sale):
    return not tap.link.is_test and tap.link.kind != "plain" and tap.link.creator and tap.link.creator != sale.buyer_creator


def terms_of(tap, line, entries):
    """Plan, rate and partner if the link stands for the line: its own product, or what its set held at the tap."""
    record = tap.link.record
    if tap.link.kind == "product":
        if (record["seller"], record["product"]) != (line["seller_id"], line["product_id"]):
            return None
        return terms(record["plan"], record["rate_bp"], record.get("partner"))
    held = [entry for entry in entries if entry["product_set_id"] == record["product_set"]
            and (entry["seller_id"], entry["product_id"]) == (line["seller_id"], line["product_id"])
            and entry["valid_from_ms"] <= tap.claims["clicked_at_ms"]]
    newest = max(held, key=lambda entry: entry["valid_from_ms"], default=None)
    if newest is None or newest.get("removed"):
        return None
    return terms(newest["plan"], newest["rate_bp"], newest["partner_id"])


def terms(plan, rate_bp, partner):
    return {"plan": plan, "rate_bp": rate_bp, **({"partner_id": partner} if partner else {})}


def settle(line, was_taken_out, last, rate_bp, as_of_ms):
    """State, amount and clawbacks of a credited line, by what the buyer kept and since when."""
    if was_taken_out:
        taken = [(last["updated_at_ms"], 0, line["quantity"])]
    else:
        taken = [(back["returned_at_ms"], 0, back["quantity"]) for back in line.get("returns", [])]
    if last.get("cancelled_at_ms"):
        taken.append((last["cancelled_at_ms"], 1, line["quantity"]))
    completed = last.get("completed_at_ms")
    payable = completed + 21 * DAY_MS if completed else None
    kept, kept_at_completion, kept_at_payable, clawbacks, by_cancellation = (line["quantity"],) * 3 + ([], False)
    for at, is_cancellation, quantity in sorted(taken):
        quantity = min(quantity, kept)
        if quantity == 0 or at > as_of_ms:
            continue
        before, kept = kept, kept - quantity
        by_cancellation = bool(is_cancellation)
        if payable is None or at < payable:
            kept_at_payable = kept
            if completed is None or at < completed:
                kept_at_completion = kept
            continue
        amount = commission(line, kept, rate_bp) - commission(line, before, rate_bp)
        if clawbacks and clawbacks[-1]["returned_at_ms"] == at:
            clawbacks[-1]["quantity"] += quantity
            clawbacks[-1]["amount_minor"] += amount
        else:
            clawbacks.append({"returned_at_ms": at, "quantity": quantity, "amount_minor": amount})
    if kept_at_payable == 0:
        state = "rejected" if kept_at_completion == 0 else "reversed"
        return {"state": state, "reason": "order_cancelled" if by_cancellation else "returned", "commission_minor": 0,
                "kept_quantity": 0}
    return {"state": state_at(completed, as_of_ms), "reason": "last_click", "kept_quantity": kept_at_payable,
            "commission_minor": commission(line, kept_at_payable, rate_bp), **({"clawbacks": clawbacks} if clawbacks else {}),
            **({"confirmed_at_ms": completed + 14 * DAY_MS, "payable_from_ms": payable,
                "payable_until_ms": completed + 30 * DAY_MS} if completed else {})}


def state_at(completed, as_of_ms):
    if completed is None or as_of_ms < completed + 14 * DAY_MS:
        return "pending"
    return "confirmed" if as_of_ms < completed + 21 * DAY_MS else "payable"


def commission(line, kept, rate_bp):
    """Rounded half to even, once a line: Python rounds fractions so."""
    return round(fractions.Fraction(line["value_minor"] * kept * rate_bp, line["quantity"] * 10_000))
