#!/bin/sh
# Appends to the pattern of a setter, which it finds in a comment.
sed 's/# kpt-set: ${v}/# kpt-set: ${v}-suffix/'
