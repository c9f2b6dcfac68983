#include <stdio.h>
#include <sysexits.h>

int main(void)
{
    return puts("anchor") < 0 ? EX_IOERR : EX_OK;
}
