//! The values that several modules share: codes, links and clicks. A code is valid if it exists; links and clicks have
//! their encoding here.

pub mod ad_parameter;
pub mod click;
pub mod code;
pub mod device;
pub mod known_names;
pub mod link;
pub mod link_parameter;
pub mod target_choice;
