#include "buoy.h"

int buoy(void)
{
    return 2;
}
