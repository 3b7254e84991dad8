//! Each rule of the programme in its own words.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{DAY, PAID, World, line, order, product_click, token_of, with};

/// Times of clicks before payment, each other than the others.
fn distinct_ages() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::btree_set(1..14 * DAY, 1..6).prop_map(|ages| ages.into_iter().collect::<Vec<_>>()).prop_shuffle()
}

fn clicks_of_ages(ages: &[u64], product: &str) -> Vec<Value> {
    let click = |(at, age): (usize, &u64)| {
        product_click(&format!("click-{at}"), PAID - age, &format!("creator-{at}"), product, 1_000)
    };
    ages.iter().enumerate().map(click).collect()
}

/// Each click in a cookie jar of its own product is replaced by a later one: what is in the jar at payment.
fn content_of_jar(clicks: &[Value], product: &str) -> Option<String> {
    let of_product = clicks.iter().filter(|click| click["product_id"] == product);
    let last = of_product.max_by_key(|click| click["clicked_at_ms"].as_u64());
    last.map(|click| click["creator_id"].as_str().unwrap().to_owned())
}

#[test]
fn the_order_in_numbers_of_the_page_for_payers() {
    let clicks = vec![
        product_click("1", PAID - 16 * DAY, "Binh", "tea", 1_500),
        product_click("2", PAID - 3 * DAY, "Chi", "tea", 1_000),
        with(product_click("3", PAID - 2 * DAY, "Dung", "tea", 2_000), json!({"class": "preview"})),
        product_click("4", PAID - DAY, "Giang", "tea", 1_200),
    ];
    let cups = with(line("2", "cup"), json!({"quantity": 3, "value_minor": 90_000}));
    let mut world = World::of_clicks_and_lines(clicks, json!([line("1", "tea"), cups]));
    let mut rows_on_day = |day: u64, returned_on: Option<u64>| {
        world.as_of_ms = PAID + day * DAY;
        let returns: Vec<Value> =
            returned_on.iter().map(|day| json!({"returned_at_ms": PAID + day * DAY, "quantity": 1})).collect();
        world.orders[0]["lines"][0]["returns"] = json!(returns);
        world.rows()
    };
    let rows = rows_on_day(0, None);
    assert_eq!((&rows[0]["creator_id"], &rows[1]["reason"]), (&json!("Giang"), &json!("not_linked_product")));
    let reasons: Vec<&Value> = rows[0]["candidates"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert_eq!(reasons, ["last_click", "not_human", "earlier_click", "click_over_14_days"]);
    for (day, state) in [(0, "pending"), (3, "pending"), (17, "confirmed"), (24, "payable"), (26, "payable")] {
        let row = &rows_on_day(day, Some(26))[0];
        assert_eq!((&row["state"], &row["commission_minor"]), (&json!(state), &json!(12_000)), "day {day}");
        assert_eq!(row["clawbacks"][0]["amount_minor"].as_i64(), (day == 26).then_some(-12_000), "day {day}");
    }
    assert_eq!(rows_on_day(20, Some(20))[0]["state"], "reversed");
}

/// Numbers that the rules add days to.
fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just((1 << 53) - 1), Just(PAID), any::<u64>()]
}

proptest! {
    #[test]
    fn no_times_and_quantities_overflow(
        times in prop::collection::vec(any_time(), 8), quantity in 1..(1i64 << 53), returned in 1..(1i64 << 53),
    ) {
        let click = with(product_click("1", times[0].max(1), "c", "tea", 10_000),
            json!({"link_created_at_ms": times[1], "link_ends_at_ms": times[2], "arrived_at_ms": times[3]}));
        let returns = json!([{"returned_at_ms": times[4], "quantity": returned}]);
        let bought = with(line("1", "tea"),
            json!({"quantity": quantity, "value_minor": (1u64 << 53) - 1, "returns": returns}));
        let mut world = World::of_clicks_and_lines(vec![click], json!([bought]));
        let (paid, completed) = (times[5].min(times[6]), times[5].max(times[6]));
        world.orders[0] = with(world.orders[0].clone(), json!({"paid_at_ms": paid, "completed_at_ms": completed}));
        world.as_of_ms = times[7];
        prop_assert_eq!(world.rows().len(), usize::from(paid <= times[7]));
    }

    #[test]
    fn the_last_click_before_payment_on_the_bought_product_wins(ages in distinct_ages(), later in 1..DAY) {
        let mut clicks = clicks_of_ages(&ages, "tea");
        let last = ages.iter().enumerate().min_by_key(|(_, age)| **age).unwrap().0;
        clicks.push(product_click("after-payment", PAID + later, "creator-late", "tea", 1_000));
        clicks.push(product_click("other-product", PAID - 1, "creator-other", "cup", 1_000));
        let rows = World::of_clicks_and_lines(clicks, json!([line("1", "tea")])).rows();
        prop_assert_eq!(&rows[0]["creator_id"], &json!(format!("creator-{last}")));
        prop_assert_eq!(&rows[0]["reason"], "last_click");
    }

    #[test]
    fn only_the_linked_product_earns_and_never_the_rest_of_the_basket(
        products in prop::collection::vec(0..5u8, 1..8), linked in 0..5u8,
    ) {
        let lines: Vec<Value> = products.iter().enumerate()
            .map(|(at, product)| line(&at.to_string(), &format!("p{product}"))).collect();
        let click = product_click("1", PAID - DAY, "c", &format!("p{linked}"), 1_000);
        for row in World::of_clicks_and_lines(vec![click], json!(lines)).rows() {
            let is_linked = row["product_id"] == format!("p{linked}");
            prop_assert_eq!(row["commission_minor"].as_i64().unwrap() > 0, is_linked);
            prop_assert_eq!(row["state"] == "rejected", !is_linked);
        }
    }

    #[test]
    fn the_same_product_id_of_another_seller_earns_nothing(seller in "[a-z]{1,3}") {
        let bought = with(line("1", "tea"), json!({"seller_id": seller}));
        let click = product_click("1", PAID - DAY, "c", "tea", 1_000);
        let rows = World::of_clicks_and_lines(vec![click], json!([bought])).rows();
        prop_assert_eq!(rows[0]["state"] == "rejected", seller != "s");
    }

    #[test]
    fn nothing_is_owed_before_completion(as_of in PAID..PAID + 400 * DAY) {
        let mut world = World::of_clicks_and_lines(
            vec![product_click("1", PAID - DAY, "c", "tea", 1_000)], json!([line("1", "tea")]));
        world.orders[0] = with(world.orders[0].clone(), json!({"completed_at_ms": null}));
        world.as_of_ms = as_of;
        prop_assert_eq!(&world.rows()[0]["state"], "pending");
        world.orders[0] = with(world.orders[0].clone(), json!({"cancelled_at_ms": PAID}));
        prop_assert_eq!(&world.rows()[0]["state"], "rejected");
        prop_assert_eq!(&world.rows()[0]["commission_minor"], 0);
    }

    #[test]
    fn a_completed_line_is_confirmed_after_14_days_and_paid_from_day_21_until_day_30(after in 0..60 * DAY) {
        let mut world = World::of_clicks_and_lines(
            vec![product_click("1", PAID - DAY, "c", "tea", 1_000)], json!([line("1", "tea")]));
        let completed = PAID + 3 * DAY;
        world.as_of_ms = completed + after;
        let row = &world.rows()[0];
        let expected = match after / DAY { 0..14 => "pending", 14..21 => "confirmed", _ => "payable" };
        prop_assert_eq!(&row["state"], expected);
        prop_assert_eq!(&row["confirmed_at_ms"], completed + 14 * DAY);
        prop_assert_eq!(&row["payable_from_ms"], completed + 21 * DAY);
        prop_assert_eq!(&row["payable_until_ms"], completed + 30 * DAY);
    }

    #[test]
    fn a_click_earns_for_14_days_to_the_millisecond(near in -3i64..3) {
        let age = (14 * DAY).checked_add_signed(near).unwrap();
        let click = product_click("1", PAID - age, "c", "tea", 1_000);
        let rows = World::of_clicks_and_lines(vec![click], json!([line("1", "tea")])).rows();
        prop_assert_eq!(&rows[0]["reason"], if near < 0 { "last_click" } else { "click_over_14_days" });
    }

    #[test]
    fn a_link_earns_for_100_days_to_the_millisecond_and_its_own_end_only_shortens(
        near in -3i64..3, own in prop::option::of(-3i64..3),
    ) {
        let created = PAID - (100 * DAY).checked_add_signed(near).unwrap();
        let ends = own.map_or(created + 200 * DAY, |own| PAID.checked_add_signed(own).unwrap());
        let click = with(product_click("1", PAID - DAY, "c", "tea", 1_000),
            json!({"link_created_at_ms": created, "link_ends_at_ms": ends}));
        let rows = World::of_clicks_and_lines(vec![click], json!([line("1", "tea")])).rows();
        let is_alive = near < 0 && own.is_none_or(|own| own > 0);
        prop_assert_eq!(&rows[0]["reason"], if is_alive { "last_click" } else { "link_ended" });
    }

    #[test]
    fn the_rate_is_that_of_the_click_and_does_not_grow_with_volume(
        rate in 500..2_600u64, orders in 1..30usize, later_rate in 500..2_600u64,
    ) {
        let click = product_click("1", PAID - DAY, "c", "tea", rate);
        let later = with(product_click("2", PAID + DAY, "c", "tea", later_rate), json!({}));
        let mut world = World::of_clicks_and_lines(vec![click, later], json!([line("1", "tea")]));
        let first = world.orders[0].clone();
        world.orders = (0..orders).map(|at| with(first.clone(), json!({"order_id": format!("o{at}")}))).collect();
        let rows = world.rows();
        prop_assert_eq!(rows.len(), orders);
        for row in rows {
            prop_assert_eq!(&row["rate_bp"], rate);
            prop_assert_eq!(&row["commission_minor"], rate * 10, "of 100 000");
        }
    }

    #[test]
    fn a_showcase_earns_its_set_and_only_for_affiliates(is_affiliate: bool, is_in_set: bool, rate in 500..2_600u64) {
        let creator_type = if is_affiliate { "affiliate" } else { "linkshare-only" };
        let click = with(product_click("1", PAID - DAY, "c", "tea", 0), json!({"link_kind": "showcase",
            "creator_type": creator_type, "product_set_id": "set", "product_id": null, "plan": null, "rate_bp": null}));
        let mut world = World::of_clicks_and_lines(vec![click], json!([line("1", "tea")]));
        world.product_sets = vec![json!({"product_set_id": "set", "seller_id": "s",
            "product_id": if is_in_set { "tea" } else { "cup" }, "valid_from_ms": 1, "plan": "targeted",
            "rate_bp": rate})];
        let row = &world.rows()[0];
        prop_assert_eq!(row["state"] == "confirmed", is_affiliate && is_in_set);
        if is_affiliate && is_in_set {
            prop_assert_eq!((&row["plan"], &row["rate_bp"]), (&json!("targeted"), &json!(rate)));
        }
    }

    #[test]
    fn the_winner_is_what_one_perfect_cookie_jar_a_buyer_and_product_holds(
        clicks in prop::collection::btree_map(1..14 * DAY, 0..3u8, 0..8), has_token_of_last_only: bool,
    ) {
        let clicks: Vec<Value> = clicks.iter().rev().enumerate().map(|(at, (age, product))| {
            let click = product_click(&format!("click-{at}"), PAID - age, &format!("c{at}"), &format!("p{product}"),
                1_000);
            with(click, json!({"visitor_id": "jar"}))
        }).collect();
        let mut world = World::of_clicks_and_lines(
            clicks.clone(), json!([line("0", "p0"), line("1", "p1"), line("2", "p2")]));
        if has_token_of_last_only {
            // The jar that the last token opens has the other clicks.
            let tokens: Vec<Value> = clicks.last().map(token_of).into_iter().collect();
            world.orders[0] = order(json!(tokens), world.orders[0]["lines"].clone());
        }
        for (at, row) in world.rows().iter().enumerate() {
            let expected = content_of_jar(&clicks, &format!("p{at}"));
            prop_assert_eq!(row["creator_id"].as_str().map(str::to_owned), expected);
        }
    }
}
