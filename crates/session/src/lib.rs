//! One visitor: who, what they may do to which file, how much, and who is told.
