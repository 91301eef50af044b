//! The promises of a holder, each as a sentence.
