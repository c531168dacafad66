"""What every page that is served to a browser on this computer needs: access, uploads, a private folder."""
