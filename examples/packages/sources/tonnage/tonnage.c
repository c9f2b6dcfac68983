#include "tonnage.h"

#include <math.h>

/* Annex I, regulation 3: GT = K1 V, K1 = 0.2 + 0.02 log10 V. */
double tonnage_gross(double volume)
{
    if (volume <= 0)
        return 0;
    return (0.2 + 0.02 * log10(volume)) * volume;
}

const char *tonnage_version(void)
{
    return VERSION;
}
