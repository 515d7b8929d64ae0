//! The rules of an owner, by name.

use crate::linux::reason::Rule;

/// Stands where a rule of the kernel names its function.
const OWNER: &str = "policy of the owner";

macro_rules! rules {
    ($($name:ident = $id:literal, $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub const $name: Rule = Rule { id: $id, sentence: $sentence, function: OWNER };
        )*
    };
}

rules! {
    CHUNK = "policy-chunk", "abstract distances are cut into tiers of the width that the policy gives";
    CLASS = "policy-class", "memory is in the first class of the policy whose bounds it keeps";
    NO_CLASS = "policy-no-class", "memory that keeps the bounds of no class is behind all classes, by its abstract distance";
    NEAR = "policy-near", "memory whose figures are near those of faster memory is in the tier of that";
    TIER = "policy-tier", "the policy names the tier of the node";
    DISTANCE = "policy-distance", "the policy names the abstract distance of the node";
    LIMITS = "policy-limits", "the policy restricts where pages are demoted to";
}
