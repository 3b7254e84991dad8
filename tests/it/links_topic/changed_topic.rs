//! changed_topic
