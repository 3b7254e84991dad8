//! The device of a click: its operating system and its class.

use crate::word_enum::word_enum;

word_enum! {
    /// An operating system.
    pub enum Os {
        /// Android, on any device.
        Android = "android",
        /// iOS and iPadOS. An iPad whose browser asks for desktop pages says that it is a Mac.
        Ios = "ios",
        /// Windows, on any device.
        Windows = "windows",
        /// macOS.
        Macos = "macos",
        /// Linux that is none of the others.
        Linux = "linux",
        /// ChromeOS.
        Chromeos = "chromeos",
        /// Any other, and an unknown one.
        Other = "other",
    }
}

word_enum! {
    /// The class of a device.
    pub enum DeviceClass {
        /// A phone.
        Phone = "phone",
        /// A tablet.
        Tablet = "tablet",
        /// A computer with a desktop.
        Desktop = "desktop",
        /// A television, or a box behind one.
        Tv = "tv",
        /// Any other, and an unknown one.
        Other = "other",
    }
}
