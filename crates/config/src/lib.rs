//! zoo.cfg and command-line settings, parsed once into typed values.
mod properties;
