/* Gross tonnage of ships, by the International Convention on Tonnage Measurement, 1969. */
#ifndef TONNAGE_H
#define TONNAGE_H

/* Gross tonnage of a ship whose enclosed spaces have this volume, in cubic metres. */
double tonnage_gross(double volume);

/* The version of this library. */
const char *tonnage_version(void);

#endif
