//! The closed lists of reasons, states and flags. Their words are the interface of the output.

use serde::{Serialize, Serializer};

use crate::word_enum::word_enum;

word_enum! {
    /// Why an order line is credited, or why not.
    pub enum LineReason {
        /// The last click before payment earns.
        LastClick = "last_click",
        /// The order came with no genuine token.
        NoClick = "no_click",
        /// Some click could earn, but none of them for this product.
        NotLinkedProduct = "not_linked_product",
        /// No click could earn, and at least one was only too old.
        ClickOver14Days = "click_over_14_days",
        /// No click could earn.
        NoCreditableClick = "no_creditable_click",
        /// The link of the last click had ended at payment.
        LinkEnded = "link_ended",
        /// The order was cancelled before the line became payable.
        OrderCancelled = "order_cancelled",
        /// All pieces came back before the line became payable.
        Returned = "returned",
    }
}

word_enum! {
    /// Why a candidate won or lost.
    pub enum CandidateReason {
        TokenMismatch = "token_mismatch", UnknownClick = "unknown_click", ArrivedTooLate = "arrived_too_late",
        Orphan = "orphan", NotHuman = "not_human", TestLink = "test_link", PlainLink = "plain_link",
        NoCreator = "no_creator", ShowcaseNotAffiliate = "showcase_not_affiliate",
        ExcludedSource = "excluded_source", SelfPurchase = "self_purchase", TokenOnly = "token_only",
        /// Refused by the policy, or lost to a click of the buyer's own.
        SharedToken = "shared_token",
        AfterPayment = "after_payment", ClickOver14Days = "click_over_14_days", OtherProduct = "other_product",
        NotInSet = "not_in_set", EarlierClick = "earlier_click", LinkEnded = "link_ended", LastClick = "last_click",
    }
}

word_enum! {
    /// The state of an order line.
    pub enum LineState {
        /// Nobody is owed anything.
        Rejected = "rejected",
        /// Credited; the commission is an estimate.
        Pending = "pending",
        /// The commission is owed.
        Confirmed = "confirmed",
        /// The commission is owed and is to be paid.
        Payable = "payable",
        /// All pieces were taken back after completion and before the line became payable.
        Reversed = "reversed",
    }
}

word_enum! {
    /// What a payer may want to look at in a credited line.
    pub enum Flag {
        /// The click has no record; its link says what the token does not.
        TokenOnly = "token_only",
        /// The token says why the click has no record: the edge's journal was full.
        Unjournaled = "unjournaled",
        /// Another account than the buyer's brought the token to the shop.
        SharedToken = "shared_token",
    }
}

word_enum! {
    /// How a candidate was found.
    pub enum FoundBy {
        /// The order came with a token of the click.
        Token = "token",
        /// The click lies in a cookie jar that a token of the buyer's opens.
        Visitor = "visitor",
    }
}

impl Flag {
    /// What the flag means, for a person.
    pub const fn describe(self) -> &'static str {
        match self {
            Flag::TokenOnly => "the click has no record; its link says who earns",
            Flag::Unjournaled => "the token says that the edge could not record the click",
            Flag::SharedToken => "another account than the buyer's brought the token to the shop",
        }
    }
}

macro_rules! serialize_as_word {
    ($($name:ident),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        })*
    };
}
serialize_as_word!(LineReason, CandidateReason, LineState, Flag, FoundBy);
